"""How long to wait before trying again."""

from __future__ import annotations

__all__ = ["doubling_wait"]


def doubling_wait(attempt: int, *, first: float, longest: float) -> float:
    """Seconds to wait after an attempt that failed: they double from attempt to attempt.

    Args:
        attempt: Attempts that failed so far, from 1.
        first: Seconds after the first one.
        longest: Seconds at most.
    """
    # No float is as large as 2 ** 1024.
    return min(longest, first * 2.0 ** min(attempt - 1, 64))
