"""When the next request may be sent: retries, their budget, and the server's own limits."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from mmrlhf_api.backoff import doubling_wait

__all__ = ["Clock", "Pacer", "RetryBudget", "backoff", "retry_after"]

_SPARE_RETRIES: Final = 10
"""Retries that are allowed before anything was sent, so that small runs can retry at all."""


@dataclass(frozen=True)
class Clock:
    """Time and sleep, so that tests can do without."""

    now: Callable[[], float] = time.monotonic
    """Seconds since any fixed moment."""
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


class Pacer:
    """Holds requests back so that no more are sent than allowed, and none while the server rests.

    Args:
        per_minute: Most requests a minute, evenly spaced; None for no limit.
        clock: Time.
    """

    def __init__(self, per_minute: float | None, clock: Clock) -> None:
        self._gap = 60.0 / per_minute if per_minute else 0.0
        self._clock = clock
        self._next = 0.0
        self._rest_until = 0.0

    async def turn(self) -> None:
        """Wait until a request may be sent."""
        while True:
            now = self._clock.now()
            if now < self._rest_until:
                await self._clock.sleep(self._rest_until - now)
                continue
            start = max(now, self._next)
            # Taken before waiting: the next one to ask queues behind.
            self._next = start + self._gap
            if start > now:
                await self._clock.sleep(start - now)
                if self._clock.now() < self._rest_until:
                    continue
            return

    def rest(self, seconds: float) -> None:
        """Send nothing for some seconds."""
        self._rest_until = max(self._rest_until, self._clock.now() + seconds)


class RetryBudget:
    """Allows retries up to a share of the requests.

    Args:
        share: Retries for each request, 0 to 1.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._left = float(_SPARE_RETRIES) if share else 0.0

    def earn(self) -> None:
        """A new request was sent."""
        self._left += self._share

    def spend(self) -> bool:
        """Take one retry; False if there is none left."""
        if self._left < 1:
            return False
        self._left -= 1
        return True


def backoff(attempt: int, *, first: float, longest: float, draw: float) -> float:
    """Seconds to wait before the next attempt: exponential with full jitter.

    Args:
        attempt: Attempts made so far, from 1.
        first: Longest wait after the first attempt.
        longest: Longest wait after any.
        draw: Uniform in [0, 1).
    """
    return draw * doubling_wait(attempt, first=first, longest=longest)


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds that a response asks to wait, by ``Retry-After`` (RFC 9110, 10.2.3).

    Args:
        headers: Headers of the response.
        now: The time, for the form that names a date.

    Returns:
        Seconds, at least 0; None if the header is absent or cannot be read.
    """
    text = headers.get("Retry-After")
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            moment = parsedate_to_datetime(text)
        except ValueError:
            return None
        seconds = (moment - (now or datetime.now(UTC))).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None
