"""What was seen lately, so that many who ask for the same make one look of it."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Final

__all__ = ["Recent"]

_MOST: Final = 1024


class Recent:
    """Remembers for a while.

    Args:
        seconds: For how long.
        clock: Tells the time, in seconds.
        most: What is remembered at most; the earliest goes first.
    """

    def __init__(self, *, seconds: float, clock: Callable[[], float], most: int = _MOST) -> None:
        self._seconds = seconds
        self._clock = clock
        self._most = most
        self._until: dict[Hashable, float] = {}

    def note(self, seen: Hashable) -> None:
        """Remember from now on."""
        self._until.pop(seen, None)
        self._until[seen] = self._clock() + self._seconds
        while len(self._until) > self._most:
            del self._until[next(iter(self._until))]

    def holds(self, seen: Hashable) -> bool:
        """Whether it was seen not long ago."""
        until = self._until.get(seen)
        return until is not None and self._clock() < until
