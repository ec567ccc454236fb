"""Preference pairs from ranks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

__all__ = ["Pair", "PairMode", "form_pairs"]

PairMode: TypeAlias = Literal["all", "hardest", "extremes"]


class Pair(NamedTuple):
    """Indices of two responses, the first preferred to the second."""

    chosen: int
    rejected: int


def form_pairs(ranks: Sequence[int], mode: PairMode = "all") -> tuple[Pair, ...]:
    """Form the pairs of one record.

    Args:
        ranks: Rank of each response, 1 is best; equal ranks are ties and form no pair.
        mode: ``all``: every (i, j) with ``ranks[i] < ranks[j]``, which is n(n-1)/2 pairs when all
            ranks differ (paper 4.1, the default of MM-DPO). ``hardest``: the best response
            against the one ranked closest below it. ``extremes``: the best against the worst.
            The last two give one pair; among tied responses the first in order is taken.

    Returns:
        Pairs sorted by (chosen, rejected); empty when all ranks are equal.
    """
    n = len(ranks)
    if mode == "all":
        return tuple(Pair(i, j) for i in range(n) for j in range(n) if ranks[i] < ranks[j])
    if mode not in ("hardest", "extremes"):
        raise ValueError(f"unknown pair mode {mode!r}")
    if len(set(ranks)) < 2:
        return ()
    best = min(ranks)
    loser = max(ranks) if mode == "extremes" else min(rank for rank in ranks if rank > best)
    return (Pair(list(ranks).index(best), list(ranks).index(loser)),)
