"""When a job is looked at though nothing was heard of it: once in each period, at its own time.

All at once they were a burst of work, in which what did happen to a job had to wait.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final, TypeVar

__all__ = ["due", "steps"]

K = TypeVar("K")
_MOST_STEPS: Final = 30
_SHORTEST_STEP: Final = 1.0


def steps(period: float) -> int:
    """Return in how many equal steps a period is walked: each at least a second long."""
    return max(1, min(_MOST_STEPS, int(period / _SHORTEST_STEP)))


def due(objects: Iterable[tuple[str, K]], *, period: float, since: float, until: float) -> list[K]:
    """Return whose time has come.

    Args:
        objects: UIDs, each with what is returned of it. By the UID an object has its time within
            each period, the same for ever; those of many are spread evenly.
        period: Seconds in which each comes once.
        since: Up to when this was asked last, in seconds of any steady clock.
        until: Now, by the same clock; each time after `since` and up to now has come.
    """
    return [one for uid, one in objects if _count(uid, period, until) > _count(uid, period, since)]


def _count(uid: str, period: float, moment: float) -> int:
    """How often the time of an object has come by a moment."""
    share = int.from_bytes(hashlib.sha256(uid.encode()).digest()[:6]) / 2**48
    return int(moment / period - share + 1)
