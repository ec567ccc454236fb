"""How often something may be done: at once for a while, and then at a rate."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

__all__ = ["Budget", "Rate"]

_MOST_KNOWN = 10_000


@dataclass(frozen=True, kw_only=True)
class Rate:
    """A rate.

    Attributes:
        burst: How often at once.
        per_second: How often in the long run.
    """

    burst: float
    per_second: float


class Budget:
    """Counts for whom something was done how often (a token bucket each).

    Args:
        rate: How often it may be.
    """

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._spent: dict[Hashable, tuple[float, float]] = {}

    def left(self, who: Hashable, *, now: float) -> bool:
        """Whether it may be done once more.

        Args:
            who: For whom.
            now: Seconds of a clock that never goes back.
        """
        return self._of(who, now) + 1 <= self._rate.burst

    def spend(self, who: Hashable, *, now: float) -> None:
        """Count that it was done; see `left`."""
        spent = self._of(who, now) + 1
        if len(self._spent) >= _MOST_KNOWN and who not in self._spent:
            # Whoever has nothing to pay back any more is forgotten, and then, if need be, all.
            self._spent = {one: kept for one, kept in self._spent.items() if self._of(one, now)}
            if len(self._spent) >= _MOST_KNOWN:
                self._spent.clear()
        self._spent[who] = (now, spent)

    def _of(self, who: Hashable, now: float) -> float:
        at, spent = self._spent.get(who, (now, 0.0))
        return max(0.0, spent - (now - at) * self._rate.per_second)
