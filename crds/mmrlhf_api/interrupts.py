"""Ctrl-C, or another signal that is to end the work, heard in whichever instant it comes."""

from __future__ import annotations

import contextlib
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
def heard_signals(ends: signal.Signals = signal.SIGINT) -> Iterator[None]:
    """Have a signal end what the main thread does or waits for, for the length of a ``with`` block.

    It raises KeyboardInterrupt. By itself Python loses some, and nothing happens for as long as the
    other side of a connection is silent:

    - What handles a signal runs between two instructions. One that comes after the last of them
      and before the system call of a read is slept over (docs.python.org/3/library/signal.html,
      execution of Python signal handlers).
    - A KeyboardInterrupt in what closes a file that nobody holds any more, such as the answer
      before this one, is dropped without a word (``iobase_finalize`` in CPython).

    So a thread reads what the interpreter writes at each signal (`signal.set_wakeup_fd`), and
    sends SIGURG until the signal is handled and the KeyboardInterrupt has arrived
    (`interrupt_arrived`). While one is on its way out, what is done for it is left alone.

    Args:
        ends: The signal. Where asyncio has taken over SIGINT, which it does of whoever has not
            changed it, asyncio ends its run, and raises at the end of that.
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
        _raise_or_tell(interrupt)

    def hear(*_: object) -> None:
        _Heard.all = True
        if not (_Heard.interrupts or _is_on_its_way()):
            _raise_or_tell(interrupt)

    def remind() -> None:
        while numbers := os.read(come, 4096):
            if before != -1:  # such as whoever tells where a process hangs
                with contextlib.suppress(BlockingIOError):
                    os.write(before, numbers)
            _Heard.all = all(number == signal.SIGURG for number in numbers)
            while not (_Heard.all and _Heard.interrupts):
                if over.wait(_PATIENCE_SECONDS):
                    break
                signal.pthread_kill(main, signal.SIGURG)

    handlers = {signal.SIGURG: signal.signal(signal.SIGURG, hear)}
    # Who started this in the background of a script may have it ignore Ctrl-C.
    if ends != signal.SIGINT or signal.getsignal(ends) is signal.default_int_handler:
        handlers[ends] = signal.signal(ends, interrupt)
    before = signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    thread = threading.Thread(target=remind, name="signals", daemon=True)
    thread.start()
    try:
        yield
    finally:
        interrupt_arrived()
        signal.set_wakeup_fd(before, warn_on_full_buffer=False)
        os.close(told)
        over.set()
        thread.join()
        os.close(come)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _raise_or_tell(ours: object) -> None:
    taker = signal.getsignal(signal.SIGINT)
    if taker in (ours, signal.default_int_handler) or not callable(taker):
        raise KeyboardInterrupt
    taker(signal.SIGINT, None)
    interrupt_arrived()  # where nothing drops it


def _is_on_its_way() -> bool:
    """Whether what the main thread does just now is done on the way out of a KeyboardInterrupt."""
    error = sys.exception()
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None
