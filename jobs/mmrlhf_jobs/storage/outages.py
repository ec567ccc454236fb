"""Outages of an object store: waited out within a budget, counted, and told.

A store that is away for seconds must not cost an attempt, and one that stays away must not hold a
gang of GPUs for ever. So each request is made again until the budget is used up; then the run ends
with an error that another attempt may mend.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from mmrlhf_api.backoff import doubling_wait

__all__ = ["TALLY", "Outages", "Tally"]

T = TypeVar("T")

_FIRST_PAUSE: Final = 0.25
_LONGEST_PAUSE: Final = 10.0
_TOLD_EVERY_SECONDS: Final = 30.0


@dataclass
class Tally:
    """What outages have cost this process so far.

    Attributes:
        count: Outages that there were.
        seconds: Time spent waiting for them to end.
    """

    count: int = 0
    seconds: float = 0.0


TALLY: Final = Tally()
"""That of this process, for the record of the run."""


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


class Outages:
    """Waits out the outages of one store.

    Requests may overlap. An outage lasts from the first request that fails until none waits any
    more.

    Args:
        store: Name of the store, for messages.
        patience: Seconds that one request is made again before its error is raised.
        tally: Counts the outages.
        clock: Seconds, growing steadily.
        sleep: Waits.
        tell: Takes a line for people.
    """

    def __init__(
        self,
        store: str,
        *,
        patience: float,
        tally: Tally = TALLY,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        tell: Callable[[str], None] = _say,
    ) -> None:
        self._store = store
        self._patience = patience
        self._tally = tally
        self._clock = clock
        self._sleep = sleep
        self._tell = tell
        self._waiting = 0
        self._since = self._told = 0.0
        self._given_up = False

    async def wait_out(
        self, request: Callable[[], Awaitable[T]], *, is_transient: Callable[[Exception], bool]
    ) -> T:
        """Make a request until it is answered or refused for good.

        Args:
            request: Makes it once; doing so twice must do no harm.
            is_transient: Whether an error may go away by itself.

        Raises:
            Exception: The error of the request: one that is not transient, or that lasted longer
                than the patience. A store that was given up is not waited for again until it
                answers: what is cleaned up after the error must not wait as long once more.
        """
        began: float | None = None
        failures = 0
        try:
            while True:
                try:
                    answer = await request()
                except Exception as error:
                    if not is_transient(error):
                        raise
                    now = self._clock()
                    if began is None:
                        began = now
                        self._enter(now)
                    left = began + self._patience - now
                    if left <= 0 or self._given_up:
                        self._given_up = True
                        raise
                    self._tell_waiting(now, left, error)
                else:
                    self._given_up = False
                    return answer
                failures += 1
                pause = doubling_wait(failures, first=_FIRST_PAUSE, longest=_LONGEST_PAUSE)
                await self._sleep(min(pause, left))
        finally:
            if began is not None:
                self._leave()

    def _enter(self, now: float) -> None:
        self._waiting += 1
        if self._waiting == 1:
            self._tally.count += 1
            self._since = now
            self._told = now - _TOLD_EVERY_SECONDS

    def _leave(self) -> None:
        self._waiting -= 1
        if self._waiting:
            return
        seconds = self._clock() - self._since
        self._tally.seconds += seconds
        if not self._given_up:
            self._tell(f"{self._store} answers again after {seconds:.1f} s")

    def _tell_waiting(self, now: float, left: float, error: Exception) -> None:
        if now - self._told >= _TOLD_EVERY_SECONDS:
            self._told = now
            self._tell(f"{self._store} is away, waiting up to {left:.0f} s for it: {error}")
