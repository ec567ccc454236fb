"""The operator's clock: the time of day when it began, and from there on steady."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

__all__ = ["SteadyClock"]


class SteadyClock:
    """Tells the time of day without ever jumping.

    A machine's time of day is set now and then, by minutes or hours; a deadline that was measured
    by it would be over at once, or never. What others set while the process runs is not followed:
    times that are written may be off by as much until it begins anew.

    Args:
        wall: Tells the time of day.
        steady: Tells seconds that only ever grow.
    """

    def __init__(
        self,
        *,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._steady = steady
        self._began_at, self._zero = wall(), steady()

    def __call__(self) -> datetime:
        """Return the time."""
        return self._began_at + timedelta(seconds=self._steady() - self._zero)
