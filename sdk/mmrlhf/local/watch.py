"""Follows the processes of a local run to their end, and stops them when they must."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from mmrlhf.local.events import Done, Event, EventTail
from mmrlhf.telling import Tell

if TYPE_CHECKING:
    from mmrlhf.local.gang import LocalGang

__all__ = ["GangWatch", "collect_signals"]

_POLL_SECONDS = 0.1
_STRAGGLER_SECONDS = 5.0
"""How long nodes may go on after another has failed; most notice by a closed connection."""
_KILL_SECONDS = 10.0
"""How long nodes of a failed gang may take to stop; there is nothing left to save."""


class GangWatch:
    """Follows a gang to its end.

    Args:
        gang: The gang.
        tail: Its events.
        on_event: Takes each event.
        tell: Takes a line about what the watch itself does.
        received: Signals that came so far, the first of which stops the gang.
        save_seconds: How long processes may take to save a checkpoint.
    """

    def __init__(
        self,
        gang: LocalGang,
        tail: EventTail,
        *,
        on_event: Callable[[Event], None],
        tell: Tell,
        received: Sequence[int],
        save_seconds: float,
    ) -> None:
        self._gang = gang
        self._tail = tail
        self._on_event = on_event
        self._tell = tell
        self._received = received
        self._save_seconds = save_seconds
        self.done: Done | None = None
        """The last event of a job that succeeded."""

    def until_end(self) -> int | None:
        """Wait until all agents have ended; returns the node that failed first, if one did."""
        failed: int | None = None
        deadline = float("inf")  # when the next harder step is due
        asked = False
        while True:
            self.pass_on()
            codes = self._gang.exit_codes()
            if failed is None:
                failed = next((node for node, code in enumerate(codes) if code), None)
                if failed is not None and None in codes and not asked:
                    self._tell(f"node {failed} failed; the others stop as well")
                    deadline = time.monotonic() + _STRAGGLER_SECONDS
            if None not in codes:
                return failed
            if self._received and not asked:
                self._tell(
                    "stopping: the job saves a checkpoint first; press Ctrl-C again to kill it"
                )
                self._gang.terminate()
                asked = True
                deadline = time.monotonic() + self._save_seconds + _KILL_SECONDS
            elif len(self._received) > 1 or (asked and time.monotonic() > deadline):
                self._gang.kill()
            elif time.monotonic() > deadline:
                self._gang.terminate()
                asked = True
                deadline = time.monotonic() + _KILL_SECONDS
            time.sleep(_POLL_SECONDS)

    def pass_on(self) -> None:
        """Pass on what the job has told since the last look."""
        for event in self._tail.read():
            self._on_event(event)
            if isinstance(event, Done):
                self.done = event


@contextmanager
def collect_signals() -> Iterator[list[int]]:
    """Collect signals instead of dying by them; works in the main thread only.

    Those that this process was started to ignore, as by nohup or in the background of a script,
    stay ignored.
    """
    received: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        del frame
        received.append(number)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {
        number: signal.signal(number, remember)
        for number in numbers
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
