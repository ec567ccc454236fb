"""The launcher of a node, whose processes are forks of it and not programs that begin anew.

``launched.py KIND --job FILE``: torchrun's agent and all else is that of `mmrlhf_jobs.launch`, by
the same variables.
"""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Callable, Sequence

from torch.distributed.elastic import multiprocessing
from torch.distributed.elastic.multiprocessing.api import MultiprocessContext, RunProcsResult
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from mmrlhf_jobs import launch

__all__ = ["forks", "main", "run_job"]


class _Forks(MultiprocessContext):
    """Forks that are looked at as programs are: torchrun tells how each of those has ended.

    Of forks it tells of one, and of the lower rank where two have ended since it last looked.
    """

    def _poll(self) -> RunProcsResult | None:
        result = super()._poll()
        if result is None or self._pc is None:
            return result
        for rank, process in enumerate(self._pc.processes):
            if rank not in result.failures and process.exitcode:
                result.failures[rank] = ProcessFailure(
                    rank, process.pid, process.exitcode, self.error_files[rank]
                )
        return result


def forks(work: Callable[..., None]) -> launch.Gang:
    """What torchrun does by the same variables, but that its processes are forks of this one.

    Args:
        work: What each of them does with the words for them.
    """

    def run(command: Sequence[str]) -> None:
        multiprocessing.MultiprocessContext = _Forks  # type: ignore[misc]
        environ = os.environ
        config = LaunchConfig(
            min_nodes=int(environ["PET_NNODES"]),
            max_nodes=int(environ["PET_NNODES"]),
            nproc_per_node=int(environ["PET_NPROC_PER_NODE"]),
            run_id="forks",
            rdzv_backend="static",
            rdzv_endpoint=f"{environ['PET_MASTER_ADDR']}:{environ['PET_MASTER_PORT']}",
            rdzv_configs={"rank": int(environ["PET_NODE_RANK"]), "timeout": 600},
            max_restarts=0,
            start_method="fork",
            monitor_interval=0.1,
            shutdown_timeout=int(environ.get("PET_SHUTDOWN_TIMEOUT", "300")),
        )
        elastic_launch(config, work)(*command)

    return run


def run_job(*command: str) -> None:
    """A process of a job, as ``python -m mmrlhf_jobs`` is one."""
    sys.argv = ["mmrlhf_jobs", *command]
    try:
        runpy.run_module("mmrlhf_jobs", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        # The agent waits for a function that returns.
        if end.code:
            raise


def main(gang: launch.Gang) -> None:
    """Run the node, and end as its launcher does."""
    ended = launch.main(sys.argv[1:], gang=gang, log_seconds=0.5)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(ended)


if __name__ == "__main__":
    main(forks(run_job))
