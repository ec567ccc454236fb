"""``python -m mmrlhf_jobs.launch <kind>``: one node of a job, as torchrun's agent.

It is torchrun with three additions. Nodes other than the first wait until the first one listens,
with a deadline and a message that says for what (a pod's DNS name lags behind its start by
seconds). The exit code is that of the first process that failed, 128 + n for signal n, where
torchrun's is always 1: the failure policy of the operator decides by it. And what this process and
those that it starts write is kept in the artifact store (`mmrlhf_jobs.log_archive`).

torchrun reads the rest from ``PET_*`` variables (see ``mmrlhf_jobs.components``).
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mmrlhf_api.constants import ENV_GANG_TIMEOUT, ENV_TERMINATION_FILE
from mmrlhf_api.termination import Ending, TerminationMessage
from mmrlhf_jobs.errors import RunError
from mmrlhf_jobs.locked_memory import raise_locked_memory
from mmrlhf_jobs.log_archive.node_log import SECONDS, keep_log
from mmrlhf_jobs.reporting.termination import write_termination

__all__ = ["main", "wait_for_first_node"]

_WAIT_SECONDS = 600.0
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


def main(
    arguments: Sequence[str] | None = None,
    environ: Mapping[str, str] = os.environ,
    *,
    log_seconds: float = SECONDS,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Run a node; return the exit code of the first process that failed, or 0.

    Args:
        arguments: Words for the job's processes; by default those of this one.
        environ: Names the job file, attempt and node.
        log_seconds: Between two writes of the log.
        sleep: Waits.
    """
    command = list(sys.argv[1:] if arguments is None else arguments)
    with keep_log(command, environ, seconds=log_seconds):
        code = _run_node(command, environ)
        if code == 0 and _is_first_of_several(environ):
            sleep(_FAREWELL_SECONDS)
        return code


def _is_first_of_several(environ: Mapping[str, str]) -> bool:
    return environ.get("PET_NODE_RANK", "0") == "0" and environ.get("PET_NNODES", "1") != "1"


def _run_node(command: Sequence[str], environ: Mapping[str, str]) -> int:
    if (limited := raise_locked_memory()) is not None:
        sys.stderr.write(f"warning: {limited}\n")
    try:
        if int(environ.get("PET_NODE_RANK", "0")) > 0:
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
    from torch.distributed import run as torchrun
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    try:
        torchrun.run(torchrun.parse_args(["-m", "mmrlhf_jobs", *command]))
    except ChildFailedError as failed:
        _, first = failed.get_first_failure()
        sys.stderr.write(f"{failed}\n")
        code = _told_exit_code(environ) or _shell_code(first.exitcode)
        write_termination(
            exit_code=code,
            reason=Ending.PROCESS_FAILED,
            message=f"local process {first.local_rank} ended with exit code "
            f"{_shell_code(first.exitcode)} and left no message; see its log",
        )
        return code
    except SignalException as stopped:
        return _told_exit_code(environ) or _shell_code(-stopped.sigval)
    return 0


def _told_exit_code(environ: Mapping[str, str]) -> int | None:
    """Exit code in the termination file, if a process of this node wrote one."""
    path = environ.get(ENV_TERMINATION_FILE)
    try:
        told = TerminationMessage.read(Path(path or "").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return None if told is None else told.exit_code


def _shell_code(exit_code: int) -> int:
    """Exit code as a shell tells it: 128 + n for a process that signal n ended."""
    return exit_code if exit_code >= 0 else 128 - exit_code


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # A client of a store that is away may have threads that wait for it.
    os._exit(code)
