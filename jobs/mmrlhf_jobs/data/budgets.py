"""How many rows may be at fault, and what is said when there are more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from mmrlhf_api.listing import first_few

__all__ = ["allowed_faults", "short_line", "tell_faults"]

_LINE_CHARACTERS: Final = 400


def allowed_faults(max_fraction: float, rows: int) -> int:
    """Rows at fault that a share of all rows allows."""
    # 0.29 * 100 is a little less than 29.
    return int(max_fraction * rows + 1e-6)


def short_line(text: str) -> str:
    """A line of a message, cut off where it is too long to be read."""
    return text if len(text) <= _LINE_CHARACTERS else f"{text[: _LINE_CHARACTERS - 3]}..."


def tell_faults(
    counts: Iterable[tuple[str, int]],
    first: Sequence[object],
    *,
    rows: int,
    max_fraction: float,
    told: str = "rows are invalid",
    more: str = "",
) -> str:
    """What to say of rows at fault that are more than a budget allows.

    Args:
        counts: Reasons, with the number of rows of each.
        first: The first of them, a line each.
        rows: All rows that are judged.
        max_fraction: Share of them that may be at fault.
        told: What they are and what is wrong with them, in words.
        more: What else to say beside the counts.
    """
    ordered = sorted(counts, key=lambda one: (-one[1], one[0]))
    total = sum(number for _, number in ordered)
    by_reason = ", ".join(f"{number} {reason}" for reason, number in ordered)
    lines = "\n".join(f"  {short_line(line)}" for line in first_few(first, total=total))
    return (
        f"{total} of {rows} {told}, and maxInvalidFraction {max_fraction:g} allows"
        f" {allowed_faults(max_fraction, rows)} ({by_reason}{more}); mend them, or raise it to"
        f" leave them out:\n{lines}"
    )
