"""SIGTERM stops the work of a step in whichever instant it comes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys

import pytest

from mmrlhf_jobs.process.interruption import Interrupted
from mmrlhf_jobs.process.stopping import stopped_by_signals

BLOCKED = """
import asyncio, ctypes, functools, io, operator, os, signal
from mmrlhf_jobs.process.interruption import Interrupted
from mmrlhf_jobs.process.stopping import stopped_by_signals

send = functools.partial(ctypes.CDLL(None).kill, os.getpid(), int(signal.SIGTERM))
block = functools.partial(os.read, os.pipe()[0], 1)

class Answer(io.RawIOBase):
    def close(self):
        send()
        super().close()

class Late:
    "A selector that a signal reaches in the one call of C functions in which it waits."
    def __init__(self, inner):
        self._inner = inner
        calls = iter([send])
        self.poll = lambda *given: list(
            map(operator.call, [next(calls, int), functools.partial(inner.poll, *given)])
        )[-1]

    def __getattr__(self, name):
        return getattr(self._inner, name)

async def forever(late=False):
    if late:
        selector = asyncio.get_running_loop()._selector
        selector._selector = Late(selector._selector)
    try:
        await asyncio.Event().wait()
    finally:
        print("kept", flush=True)

def work():
    {how}

try:
    with stopped_by_signals():
        work()
except Interrupted:
    print("left", flush=True)
"""


@pytest.mark.parametrize(
    ("how", "said"),
    [
        # In one call of C functions: nothing handles a signal between them.
        pytest.param("list(map(operator.call, [send, block]))", "left\n", id="before it blocks"),
        pytest.param("Answer(); block()", "left\n", id="when nobody holds an answer any more"),
        pytest.param("asyncio.run(forever(late=True))", "kept\nleft\n", id="before a loop waits"),
        pytest.param(
            "Answer(); asyncio.run(forever())", "kept\nleft\n", id="lost before a loop began"
        ),
    ],
)
def test_a_signal_that_python_loses_is_heard(how: str, said: str) -> None:
    program = [sys.executable, "-c", BLOCKED.replace("{how}", how)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=300, check=True)
    assert (done.stdout, done.stderr) == (said, "")


def test_what_is_kept_on_the_way_out_is_kept_whole() -> None:
    """It may take long, and is not interrupted again by what reminds of the signal."""
    kept = list[str]()

    def work() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGURG)
            kept.append("at once")
            try:
                int("the last answer")
            except ValueError:
                signal.raise_signal(signal.SIGURG)
            kept.append("after trouble")

    with pytest.raises(Interrupted), stopped_by_signals():
        work()
    assert kept == ["at once", "after trouble"]


def test_asyncio_ends_its_run_between_two_steps_of_a_task() -> None:
    written = list[str]()

    async def ask() -> None:
        signal.raise_signal(signal.SIGTERM)
        written.append("an answer")
        await asyncio.Event().wait()

    with pytest.raises(Interrupted), stopped_by_signals():
        asyncio.run(ask())
    assert written == ["an answer"]


def test_who_listened_for_signals_goes_on_listening() -> None:
    """Whoever would tell the stacks of a process that outlives the signal."""
    ear, mouth = os.pipe()
    for end in (ear, mouth):
        os.set_blocking(end, False)
    before = signal.set_wakeup_fd(mouth, warn_on_full_buffer=False)
    try:
        with pytest.raises(Interrupted), stopped_by_signals():
            signal.raise_signal(signal.SIGTERM)
        assert signal.set_wakeup_fd(mouth, warn_on_full_buffer=False) == mouth
        os.close(mouth)
        assert os.read(ear, 16) == bytes([signal.SIGTERM])
    finally:
        signal.set_wakeup_fd(before)
        os.close(ear)
