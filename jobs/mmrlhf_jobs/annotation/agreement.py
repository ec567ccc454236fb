"""How far annotators agree."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from math import sqrt

__all__ = ["kendall_tau", "krippendorff_alpha", "mean_tau"]


def kendall_tau(first: Sequence[int], second: Sequence[int]) -> float | None:
    """Rank correlation of two rankings of the same things, tau-b, which counts ties.

    Returns:
        From -1 (reversed) to 1 (the same); None when one of them ties everything.
    """
    agree = ties_first = ties_second = pairs = 0
    for (a, b), (c, d) in combinations(zip(first, second, strict=True), 2):
        pairs += 1
        ties_first += a == c
        ties_second += b == d
        agree += _sign(a - c) * _sign(b - d)
    if pairs in (ties_first, ties_second):
        return None
    return agree / sqrt((pairs - ties_first) * (pairs - ties_second))


def mean_tau(rankings: Sequence[Sequence[int]]) -> float | None:
    """Mean of :func:`kendall_tau` over all pairs of annotators; None when there is none."""
    taus = [kendall_tau(a, b) for a, b in combinations(rankings, 2)]
    given = [tau for tau in taus if tau is not None]
    return sum(given) / len(given) if given else None


def krippendorff_alpha(units: Iterable[Sequence[int]]) -> float | None:
    """Agreement on an ordinal scale, by Krippendorff, *Content Analysis* (ordinal metric).

    Args:
        units: The values that each thing was given; things with fewer than two count nothing.

    Returns:
        1 for agreement, 0 for chance, negative for less than chance; None when all values are the
        same, or no thing has two.
    """
    weights: dict[tuple[int, int], float] = {}
    for values in units:
        if len(values) < 2:
            continue
        for i, a in enumerate(values):
            for j, b in enumerate(values):
                if i != j:
                    weights[a, b] = weights.get((a, b), 0.0) + 1 / (len(values) - 1)
    totals: dict[int, float] = {}
    for (a, _), weight in weights.items():
        totals[a] = totals.get(a, 0.0) + weight
    n = sum(totals.values())
    scale = sorted(totals)

    def distance(a: int, b: int) -> float:
        low, high = min(a, b), max(a, b)
        between = sum(totals[value] for value in scale if low <= value <= high)
        return (between - (totals[a] + totals[b]) / 2) ** 2

    seen = sum(weight * distance(a, b) for (a, b), weight in weights.items())
    chance = sum(totals[a] * totals[b] * distance(a, b) for a in scale for b in scale if a != b)
    return 1 - (n - 1) * seen / chance if chance else None


def _sign(value: int) -> int:
    return (value > 0) - (value < 0)
