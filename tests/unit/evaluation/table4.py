"""Table 4 of the paper, and queries made to its figures.

The paper prints shares alone. 10 queries each of mcq (42 pairs), long (37), short (34) and video
(25) and 6 of safety (32 pairs) are the one composition of 170 pairs that explains nearly every
cell.
"""

from __future__ import annotations

from typing import Final

from mmrlhf_jobs.data.pairs import Pair
from mmrlhf_jobs.evaluation.rewardbench import BenchQuery

__all__ = ["COMPOSITION", "TABLE4", "make_category", "nearest"]

COMPOSITION: Final = {
    "mcq": (10, 42),
    "long": (10, 37),
    "short": (10, 34),
    "safety": (6, 32),
    "video": (10, 25),
}
"""Queries and pairs of each category."""

_COLUMNS: Final = {
    "LLaVA-OV-7B": "0.14 0.00 0.11 0.00 0.29 0.20 0.41 0.00 0.32 0.10 0.24 0.07",
    "LLaVA-Critic (pointwise)": "0.38 0.10 0.49 0.20 0.38 0.20 0.62 0.17 0.40 0.20 0.45 0.17",
    "LLaVA-Critic (pairwise)": "0.23 0.00 0.54 0.30 0.24 0.10 0.28 0.17 0.52 0.20 0.35 0.15",
    "GPT-4o": "0.69 0.20 0.95 0.90 0.56 0.40 0.72 0.33 0.80 0.60 0.74 0.50",
    "w/o enhanced annotations": "0.83 0.70 0.92 0.80 0.68 0.40 0.69 0.17 0.80 0.60 0.79 0.57",
    "MM-RLHF-Reward": "0.93 0.70 1.00 1.00 0.71 0.50 0.66 0.17 0.92 0.80 0.85 0.67",
    "inference w. GT annotation": "1.00 1.00 1.00 1.00 1.00 1.00 0.69 0.17 0.92 0.90 0.93 0.87",
}
TABLE4: Final = {
    method: {
        category: (cells[2 * place], cells[2 * place + 1])
        for place, category in enumerate((*COMPOSITION, "overall"))
    }
    for method, column in _COLUMNS.items()
    for cells in [column.split()]
}
"""Printed (ACC, ACC+) by method and category. "w/o Task 1" is left out: its own rows give 0.77 and
0.57, the paper prints 0.75 and 0.50."""


def nearest(printed: str, n: int) -> int:
    """The number among n whose share is the closest to a printed one."""
    return min(range(n + 1), key=lambda number: abs(number / n - float(printed)))


def make_category(
    category: str, *, queries: int, pairs: int, right_pairs: int, right_queries: int
) -> list[BenchQuery]:
    """Queries of which as many are right as told, with as many right pairs in all.

    A query's best response is compared with several others; as many of those score below it as
    the query has right pairs. One wrong pair is a tie, the others are reversed.
    """
    sizes = [pairs // queries + (place < pairs % queries) for place in range(queries)]
    right = [0] * queries
    # The right queries are those of the fewest pairs, if that leaves the rest room to be wrong.
    order = sorted(range(queries), key=lambda place: sizes[place])
    for place in order[:right_queries]:
        right[place] = sizes[place]
    left = right_pairs - sum(right)
    assert left >= 0, f"{category}: the right queries have more pairs than are right"
    for place in order[right_queries:]:
        right[place] = min(left, sizes[place] - 1)
        left -= right[place]
    assert left == 0, f"{category}: too few wrong queries for so many right pairs"
    return [
        BenchQuery(
            query_id=f"{category}-{place}",
            category=category,
            pairs=tuple(Pair(0, other) for other in range(1, size + 1)),
            scores=(0.0, *(-1.0 if n < good else float(n > good) for n in range(size))),
        )
        for place, (size, good) in enumerate(zip(sizes, right, strict=True))
    ]
