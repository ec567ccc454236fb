"""Ctrl-C ends a command in whichever instant it comes."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from mmrlhf_api.interrupts import heard_signals, interrupt_arrived

BLOCKED = """
import ctypes, functools, io, operator, os, signal
from mmrlhf_api.interrupts import heard_signals

send = functools.partial(ctypes.CDLL(None).kill, os.getpid(), int(signal.SIGINT))
block = functools.partial(os.read, os.pipe()[0], 1)

class Answer(io.RawIOBase):
    def close(self):
        send()
        super().close()

try:
    with heard_signals():
        {how}
except KeyboardInterrupt:
    print("left", flush=True)
"""


@pytest.mark.parametrize(
    "how",
    [
        # In one call of C functions: nothing handles a signal between them.
        pytest.param("list(map(operator.call, [send, block]))", id="just before it blocks"),
        pytest.param("Answer(); block()", id="when nobody holds an answer any more"),
    ],
)
def test_an_interrupt_that_python_loses_is_heard(how: str) -> None:
    program = [sys.executable, "-c", BLOCKED.format(how=how)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=300, check=True)
    assert (done.stdout, done.stderr) == ("left\n", "")


def test_an_interrupt_that_has_arrived_is_not_raised_again() -> None:
    with heard_signals():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        interrupt_arrived()
        signal.raise_signal(signal.SIGURG)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGURG)


def test_what_stood_before_stands_again() -> None:
    before = signal.getsignal(signal.SIGURG)
    with heard_signals():
        assert signal.getsignal(signal.SIGURG) is not before
    assert signal.getsignal(signal.SIGURG) is before
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.set_wakeup_fd(-1) == -1


def test_who_ignores_interrupts_goes_on_ignoring_them() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with heard_signals():
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
