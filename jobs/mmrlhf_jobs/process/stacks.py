"""Where a process hangs, told before it is killed for it.

Whoever is asked to stop saves what is worth it and ends. Who hangs, mostly in a collective that a
peer never joins, does not, and is killed by its launcher after a while, with nothing in its log.
So some seconds before that, what all its threads are doing is written to standard error. The
launcher that watches asks for it at once, and for the record of collectives beside it.

Signals are noticed by a thread of its own, as the main one may be in a library that never returns;
the stacks are written without the interpreter's lock (`faulthandler`).
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TextIO

from mmrlhf_api.constants import ENV_WATCH
from mmrlhf_jobs.components import SHUTDOWN_SECONDS
from mmrlhf_jobs.watch.flight import RECORDS, write_records
from mmrlhf_jobs.watch.watching import DUMP_SIGNAL

__all__ = ["listen_for_dumps"]

_LEFT_SECONDS: Final = 20.0
"""Before the launcher kills: for the lines to be read from the pipe."""


def listen_for_dumps(
    environ: Mapping[str, str] = os.environ,
    *,
    seconds: float = SHUTDOWN_SECONDS - _LEFT_SECONDS,
    out: TextIO | None = None,
) -> None:
    """From the main thread: write all stacks when asked, and if the process outlives SIGTERM.

    Args:
        environ: Names the folder of the launcher that watches, and the rank.
        seconds: How long after SIGTERM.
        out: A real file to write to; None is standard error.
    """
    stream = out or sys.stderr
    heard: dict[int, Callable[[], object]] = {
        signal.SIGTERM: lambda: faulthandler.dump_traceback_later(seconds, file=stream)
    }
    if folder := environ.get(ENV_WATCH):
        rank = int(environ.get("RANK", "0"))
        # First the interpreter's handler, which wakes the thread; the other one calls it.
        signal.signal(DUMP_SIGNAL, lambda *_: None)
        faulthandler.register(DUMP_SIGNAL, file=stream, chain=True)
        heard[DUMP_SIGNAL] = lambda: write_records(Path(folder) / RECORDS, rank)
    ear, mouth = os.pipe()
    os.set_blocking(mouth, False)
    # The interpreter writes the number of each signal there at once, whatever the main thread does.
    signal.set_wakeup_fd(mouth, warn_on_full_buffer=False)

    def listen() -> None:
        while heard:
            for number in os.read(ear, 64):
                if (act := heard.pop(number, None)) is not None:
                    act()

    threading.Thread(target=listen, name="stacks", daemon=True).start()
