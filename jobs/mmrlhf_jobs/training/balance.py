"""Which process takes which queries of a step, so that all have about as much to do.

A pure function of the step's records: every process computes the same deal, and none has to tell
another. The step's gradient is a sum over its queries, so who takes which changes nothing but the
order of the sums (ADR 0003), and the queries of a step are those of the data order (ADR 0004).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mmrlhf_jobs.data.records import RankedResponse

__all__ = ["deal", "estimate_cost"]

_LETTERS: Final = 4
"""Letters of a token, about."""
_MEDIUM: Final = 750
"""Tokens of an image or a frame, about: those of one tile of LLaVA-OneVision."""


def estimate_cost(record: RankedResponse) -> int:
    """About how many tokens a query takes, its prompt once; nothing is decoded or tokenised."""
    query = record.query
    critiques = [response.critique for response in record.responses]
    texts = [
        query.system or "",
        *(turn.text for turn in query.turns),
        query.text,
        *(response.text for response in record.responses),
        *(one.augmented or one.human for one in critiques if one is not None),
    ]
    files = sum(len(medium.files) for medium in record.media)
    return sum(map(len, texts)) // _LETTERS + _MEDIUM * files


def deal(costs: Sequence[int], processes: int) -> list[list[int]]:
    """Deal queries to processes.

    From the dearest to the cheapest, as many at a time as there are processes, one to each, the
    dearest of them to whoever has least so far. So the numbers of queries differ by 1 at most, the
    costs by that of one query, and micro-batches that are taken at the same time, from the longest
    to the shortest, are about as long.

    Args:
        costs: Of each query of the step.
        processes: How many share them.

    Returns:
        Places of each process's queries, in the order of the step.
    """
    shares: list[list[int]] = [[] for _ in range(processes)]
    loads = [0] * processes
    dearest = sorted(range(len(costs)), key=lambda place: (-costs[place], place))
    for start in range(0, len(dearest), processes):
        takers = sorted(range(processes), key=lambda one: (loads[one], one))
        for taker, place in zip(takers, dearest[start : start + processes], strict=False):
            shares[taker].append(place)
            loads[taker] += costs[place]
    return [sorted(share) for share in shares]
