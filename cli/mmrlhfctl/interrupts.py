"""Ctrl-C, and other signals, heard in whichever instant they come."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["heard_signals", "interrupt_arrived"]

_PATIENCE_SECONDS: Final = 0.5


class _Heard:
    """What has become of the signals.

    Attributes:
        all: Whether what handles them has run for all.
        interrupts: Whether all KeyboardInterrupt that were raised have arrived.
    """

    all = True
    interrupts = True


def interrupt_arrived() -> None:
    """Say that a KeyboardInterrupt was caught; until then it is raised again and again."""
    _Heard.interrupts = True


@contextmanager
def heard_signals() -> Iterator[None]:
    """Have a signal end what the main thread waits for, for the length of a ``with`` block.

    By itself Python loses some, and Ctrl-C does nothing for as long as the cluster is silent:

    - What handles a signal runs between two instructions. One that comes after the last of them
      and before the system call of a read is slept over (docs.python.org/3/library/signal.html,
      execution of Python signal handlers).
    - A KeyboardInterrupt in what closes a file that nobody holds any more, such as the answer
      before this one, is dropped without a word (``iobase_finalize`` in CPython).

    So a thread reads what the interpreter writes at each signal (`signal.set_wakeup_fd`), and
    sends SIGURG until the signal is handled and the KeyboardInterrupt has arrived
    (`interrupt_arrived`).
    """
    if sys.platform == "win32":  # which knows no SIGURG
        yield
        return
    main = threading.get_ident()
    come, told = os.pipe()
    os.set_blocking(told, False)
    over = threading.Event()

    def interrupt(*_: object) -> None:
        _Heard.interrupts = False
        raise KeyboardInterrupt

    def hear(*_: object) -> None:
        _Heard.all = True
        if not _Heard.interrupts:
            raise KeyboardInterrupt

    def remind() -> None:
        while numbers := os.read(come, 4096):
            _Heard.all = all(number == signal.SIGURG for number in numbers)
            while not (_Heard.all and _Heard.interrupts):
                if over.wait(_PATIENCE_SECONDS):
                    return
                signal.pthread_kill(main, signal.SIGURG)

    handlers = {signal.SIGURG: signal.signal(signal.SIGURG, hear)}
    # Who started this in the background of a script may have it ignore Ctrl-C.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        handlers[signal.SIGINT] = signal.signal(signal.SIGINT, interrupt)
    wakeup = signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    thread = threading.Thread(target=remind, name="signals", daemon=True)
    thread.start()
    try:
        yield
    finally:
        interrupt_arrived()
        signal.set_wakeup_fd(wakeup)
        os.close(told)
        over.set()
        thread.join()
        os.close(come)
        for number, handler in handlers.items():
            signal.signal(number, handler)
