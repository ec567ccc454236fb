"""``python -m mmrlhf_jobs.launch <kind>``: one node of a job, as torchrun's agent.

It is torchrun with four additions. Nodes other than the first wait until the first one listens,
with a deadline and a message that says for what (a pod's DNS name lags behind its start by
seconds). The exit code is that of the first process that failed, 128 + n for signal n, where
torchrun's is always 1: the failure policy of the operator decides by it. What this process and
those that it starts write is kept in the artifact store (`mmrlhf_jobs.log_archive`). And processes
that die or stand still end the job, with what they were at (`mmrlhf_jobs.watch`).

torchrun reads the rest from ``PET_*`` variables (see ``mmrlhf_jobs.components``).
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeAlias

from mmrlhf_api.constants import ENV_GANG_TIMEOUT, ENV_HANG_TIMEOUT, ENV_WATCH
from mmrlhf_api.termination import Ending
from mmrlhf_jobs.errors import RunError
from mmrlhf_jobs.imports import many_imports
from mmrlhf_jobs.locked_memory import raise_locked_memory
from mmrlhf_jobs.log_archive.node_log import SECONDS, keep_log
from mmrlhf_jobs.reporting.termination import write_termination
from mmrlhf_jobs.watch.flight import RECORDS, recorder_environment
from mmrlhf_jobs.watch.judging import Limits
from mmrlhf_jobs.watch.nodes import Alone, StoreNodes
from mmrlhf_jobs.watch.outcome import exit_code_told, shell_code, tell_failure, tell_verdict
from mmrlhf_jobs.watch.watching import Watch, Watched

__all__ = ["Gang", "main", "wait_for_first_node"]

Gang: TypeAlias = Callable[[Sequence[str]], None]
"""Runs the processes of this node with words for them; raises what torchrun does."""

_WAIT_SECONDS = 600.0
_HANG_SECONDS = 300.0
_TOLD_EVERY_SECONDS = 30.0
_FAREWELL_SECONDS = 2.0
"""Node 0 stays for so long when all have ended well: the others may still be about to ask its store
whether that is so, and would take its silence for a failure, with a page of traces in their log."""


def wait_for_first_node(
    address: str,
    port: int,
    *,
    deadline: float = _WAIT_SECONDS,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait until the first node's port takes connections.

    Args:
        address: Host name of the first node.
        port: Port of its agent.
        deadline: Seconds to wait at most.
        clock: Seconds, growing steadily.
        sleep: Waits.

    Raises:
        RunError: It did not in time; says what the last try failed on.
    """
    start = told = clock()
    while True:
        try:
            with socket.create_connection((address, port), timeout=5.0):
                return
        except socket.gaierror as error:
            problem = f"its name does not resolve ({error.strerror})"
        except OSError as error:
            problem = f"it takes no connection ({error.strerror or error})"
        now = clock()
        if now - start >= deadline:
            raise RunError(
                f"node 0 at {address}:{port} was not ready within {deadline:.0f} s: {problem}. "
                "Look at the state and logs of the pod with index 0"
            )
        if now - told >= _TOLD_EVERY_SECONDS:
            sys.stderr.write(f"waiting for node 0 at {address}:{port}: {problem}\n")
            told = now
        sleep(0.5)


def run_torchrun(command: Sequence[str]) -> None:
    """Run the processes as torchrun does."""
    with many_imports():
        from torch.distributed import run as torchrun

    torchrun.run(torchrun.parse_args(["-m", "mmrlhf_jobs", *command]))


def main(
    arguments: Sequence[str] | None = None,
    environ: Mapping[str, str] = os.environ,
    *,
    log_seconds: float = SECONDS,
    sleep: Callable[[float], None] = time.sleep,
    gang: Gang = run_torchrun,
) -> int:
    """Run a node; return the exit code of the first process that failed, or 0.

    Args:
        arguments: Words for the job's processes; by default those of this one.
        environ: Names the job file, attempt and node.
        log_seconds: Between two writes of the log.
        sleep: Waits.
        gang: What runs the processes.
    """
    command = list(sys.argv[1:] if arguments is None else arguments)
    with tempfile.TemporaryDirectory(prefix="mmrlhf-watch-") as folder:
        records = Path(folder) / RECORDS
        records.mkdir()
        with keep_log(command, environ, seconds=log_seconds, beside=records):
            code = _run_node(command, environ, gang, Path(folder))
            if _is_first_of_several(environ) and code == 0:
                sleep(_FAREWELL_SECONDS)
            return code


def _is_first_of_several(environ: Mapping[str, str]) -> bool:
    return environ.get("PET_NODE_RANK", "0") == "0" and environ.get("PET_NNODES", "1") != "1"


def _run_node(command: Sequence[str], environ: Mapping[str, str], gang: Gang, folder: Path) -> int:
    if (limited := raise_locked_memory()) is not None:
        sys.stderr.write(f"warning: {limited}\n")
    node = int(environ.get("PET_NODE_RANK", "0"))
    try:
        if node > 0:
            wait_for_first_node(
                environ["PET_MASTER_ADDR"],
                int(environ["PET_MASTER_PORT"]),
                deadline=float(environ.get(ENV_GANG_TIMEOUT, _WAIT_SECONDS)),
            )
    except RunError as error:
        message = str(error)
        lost = Ending.PEER_LOST
        write_termination(exit_code=lost.exit_code, reason=lost, message=message)
        sys.stderr.write(f"error: {message}\n")
        return lost.exit_code
    with many_imports():
        from torch.distributed.elastic.multiprocessing import SignalException
        from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    # The processes have the environment of this one.
    os.environ[ENV_WATCH] = str(folder)
    for name, value in recorder_environment(folder / RECORDS).items():
        os.environ.setdefault(name, value)
    watch = Watch(_watched(folder, environ), partial(tell_verdict, node=node))
    watch.start()
    try:
        gang(command)
    except ChildFailedError as failed:
        sys.stderr.write(f"{failed}\n")
        watch.close()
        code = tell_failure(failed.failures, watch, node=node)
        if _is_first_of_several(environ):
            time.sleep(_FAREWELL_SECONDS)  # the others ask its store why it failed
        return code
    except SignalException as stopped:
        return exit_code_told() or shell_code(-stopped.sigval)
    finally:
        watch.close()
    return 0


def _watched(folder: Path, environ: Mapping[str, str]) -> Watched:
    node, nodes = int(environ.get("PET_NODE_RANK", "0")), int(environ.get("PET_NNODES", "1"))
    return Watched(
        folder,
        node=node,
        world_size=nodes * int(environ.get("PET_NPROC_PER_NODE", "1")),
        nodes=Alone()
        if nodes == 1
        else StoreNodes(node, nodes, environ["PET_MASTER_ADDR"], int(environ["PET_MASTER_PORT"])),
        limits=Limits(step=float(environ.get(ENV_HANG_TIMEOUT, _HANG_SECONDS))),
    )


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # A client of a store that is away may have threads that wait for it.
    os._exit(code)
