"""Commands that are a step of the jobs, such as ``mmrlhfctl import``: in a process of its own."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from mmrlhf.local.watch import collect_signals
from mmrlhf_api.termination import Ending, describe_signal
from mmrlhfctl.errors import CliError
from mmrlhfctl.exits import ExitCode
from mmrlhfctl.terminal import note

__all__ = ["run_step"]

_SIGNAL: Final = 128
_POLL_SECONDS: Final = 0.1


def run_step(name: str, arguments: Sequence[str]) -> int:
    """Run a step to its end; what it writes goes where this program's goes.

    Ctrl-C, or another signal that is to end this program, is passed on to it once. It then takes
    the time that it needs to keep what is done; a second signal kills it.

    Args:
        name: Name of the step.
        arguments: Its command line.

    Returns:
        Its exit code; where it stopped because of a signal, 128 and the number of that.

    Raises:
        CliError: The packages that jobs need are not installed, or something else killed it.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise CliError(
            f"{name} needs pyarrow, which is not installed: pip install 'mmrlhf[jobs]'",
            code=ExitCode.USAGE,
        )
    with collect_signals() as received:
        # In a session of its own: a terminal tells all that run in its foreground of Ctrl-C.
        step = subprocess.Popen(
            [sys.executable, "-m", "mmrlhf_jobs", name, *arguments], start_new_session=True
        )
        code = _wait(step, name, received)
    if received and (code < 0 or code == Ending.INTERRUPTED.exit_code):
        return _SIGNAL + received[0]
    if code < 0:
        raise CliError(f"{name} {describe_signal(-code)}", code=_SIGNAL - code)
    return code


def _wait(step: subprocess.Popen[bytes], name: str, received: Sequence[int]) -> int:
    """Wait for a step, and pass on to it what is received meanwhile."""
    passed = 0
    while True:
        with suppress(subprocess.TimeoutExpired):
            return step.wait(_POLL_SECONDS)
        if len(received) == passed:
            continue
        if passed == 0:
            note(
                f"stopping: waiting for {name} to keep what is done and end; "
                "press Ctrl-C again to kill it"
            )
            step.terminate()
        else:
            os.killpg(step.pid, signal.SIGKILL)  # with all that it has started
        passed += 1
