"""Long lists in messages: the first few, and how many more there are."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["first_few"]


def first_few(items: Sequence[object], *, total: int | None = None, shown: int = 20) -> list[str]:
    """The first items as texts, and ``and N more`` as the last one if there are others.

    Args:
        items: What to list.
        total: How many there are, if more than are at hand.
        shown: How many to show at most.
    """
    texts = [str(item) for item in items[:shown]]
    more = (len(items) if total is None else total) - len(texts)
    return [*texts, f"and {more} more"] if more > 0 else texts
