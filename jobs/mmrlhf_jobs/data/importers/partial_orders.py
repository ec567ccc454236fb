"""From pairs back to ranks."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from mmrlhf_jobs.data.pairs import Pair

__all__ = ["ContradictionError", "RebuiltRanks", "rebuild_ranks"]


class ContradictionError(ValueError):
    """Pairs prefer a response to itself, directly or around a cycle.

    Attributes:
        pairs: The pairs that lie on a cycle.
    """

    def __init__(self, pairs: Collection[Pair]) -> None:
        super().__init__(f"{len(pairs)} pairs contradict each other")
        self.pairs = frozenset(pairs)


class RebuiltRanks(NamedTuple):
    """Ranks that explain a set of pairs."""

    ranks: tuple[int, ...]
    """Competition ranks."""
    inferred: frozenset[Pair]
    """Pairs that the ranks form, but that do not follow from the given ones."""


def rebuild_ranks(n: int, pairs: Collection[Pair], ties: Collection[Pair] = ()) -> RebuiltRanks:
    """Ranks of n responses of which some pairs are known.

    A response ranks behind all that are preferred to it, directly or through others. When the
    pairs are all those of some ranking, that ranking is found again: responses without a pair
    between them are tied. When pairs are lacking, responses that were never compared may come to
    differ in rank; those pairs are named as inferred. What was judged is never overridden: a chosen
    response ranks before the rejected one, and responses that were judged equal rank equal.

    Args:
        n: Number of responses.
        pairs: Pairs that were judged, the first better.
        ties: Pairs that were judged equal.

    Raises:
        ContradictionError: A response is better than itself, directly, around a cycle, or since
            one that it is better than was judged equal to it.
    """
    leader = list(range(n))
    for one, other in ties:
        old, new = leader[other], leader[one]
        leader = [new if mine == old else mine for mine in leader]
    better = [[False] * n for _ in range(n)]
    for chosen, rejected in pairs:
        better[leader[chosen]][leader[rejected]] = True
    for via in range(n):
        for i in range(n):
            if better[i][via]:
                for j in range(n):
                    better[i][j] = better[i][j] or better[via][j]
    cycle = [
        pair
        for pair in pairs
        if better[leader[pair.rejected]][leader[pair.chosen]]
        or leader[pair.chosen] == leader[pair.rejected]
    ]
    if cycle:
        raise ContradictionError(cycle)
    ahead = [sum(better[leader[j]][leader[i]] for j in range(n)) for i in range(n)]
    ranks = tuple(1 + sum(other < mine for other in ahead) for mine in ahead)
    inferred = frozenset(
        Pair(i, j)
        for i in range(n)
        for j in range(n)
        if ranks[i] < ranks[j] and not better[leader[i]][leader[j]]
    )
    return RebuiltRanks(ranks, inferred)
