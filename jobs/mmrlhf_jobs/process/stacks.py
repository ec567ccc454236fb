"""Where a process hangs, told before it is killed for it.

Whoever is asked to stop saves what is worth it and ends. Who hangs, mostly in a collective that a
peer never joins, does not, and is killed by its launcher after a while, with nothing in its log.
So some seconds before that, what all its threads are doing is written to standard error.

The signal is noticed by a thread of its own, as the main one may be in a library that never
returns; the stacks are then written by a thread of the interpreter that needs no lock
(`faulthandler`).
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
from typing import TextIO

from mmrlhf_jobs.components import SHUTDOWN_SECONDS

__all__ = ["dump_stacks_when_stopped"]

_LEFT_SECONDS = 20.0
"""Before the launcher kills: for the lines to be read from the pipe."""


def dump_stacks_when_stopped(
    *, seconds: float = SHUTDOWN_SECONDS - _LEFT_SECONDS, out: TextIO | None = None
) -> None:
    """From the main thread: write all stacks if the process is still there after SIGTERM.

    Args:
        seconds: How long after the signal.
        out: A real file to write to; None is standard error.
    """
    ear, mouth = os.pipe()
    os.set_blocking(mouth, False)
    # The interpreter writes the number of each signal there at once, whatever the main thread does.
    signal.set_wakeup_fd(mouth, warn_on_full_buffer=False)
    stream = out or sys.stderr

    def wait() -> None:
        while signal.SIGTERM not in os.read(ear, 64):
            pass
        faulthandler.dump_traceback_later(seconds, exit=False, file=stream)

    threading.Thread(target=wait, name="stacks", daemon=True).start()
