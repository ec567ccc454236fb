"""A query with the scores of its responses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mmrlhf_jobs.data.pairs import Pair, form_pairs
from mmrlhf_jobs.data.records import RankedResponse

__all__ = ["BENCHMARKS", "BenchQuery", "bench_query"]

BENCHMARKS: Final[dict[str, tuple[str, ...]]] = {
    "MM-RLHF-RewardBench": ("mcq", "long", "short", "safety", "video"),
    "VL-RewardBench": ("general", "hallucination", "reasoning"),
}
"""Categories of each benchmark in the order of the paper's Tables 4 and 5."""


@dataclass(frozen=True)
class BenchQuery:
    """What the measures need to know of one query.

    Attributes:
        query_id: Its id, for the list of wrong pairs.
        category: What the report is broken down by.
        pairs: Pairs that people have a preference about, as indices into the scores; empty where
            they have none.
        scores: One a response; None or not finite where the model gave none.
    """

    query_id: str
    category: str
    pairs: tuple[Pair, ...]
    scores: tuple[float | None, ...]

    def margin(self, pair: Pair) -> float | None:
        """Score of the chosen response minus that of the rejected; None if one is lacking."""
        chosen, rejected = self.scores[pair.chosen], self.scores[pair.rejected]
        if chosen is None or rejected is None:
            return None
        if not (math.isfinite(chosen) and math.isfinite(rejected)):
            return None
        return chosen - rejected


def bench_query(record: RankedResponse, scores: Sequence[float | None]) -> BenchQuery:
    """Join a record with its scores.

    Every two responses of different rank are a pair. A record whose ranks form none, or whose
    question annotators found unanswerable, has no pairs and is counted apart.

    Args:
        record: The record. Its category is that of the paper's Table 4, or, for records imported
            from VL-RewardBench, the one of Table 5 that the importer put into ``source.split``.
        scores: One for each of its responses, in their order; None where the model gave none.

    Raises:
        ValueError: The numbers of responses and scores differ.
    """
    if len(scores) != len(record.responses):
        raise ValueError(
            f"record {record.record_id!r} has {len(record.responses)} responses, got"
            f" {len(scores)} scores"
        )
    source = record.source
    category: str = record.category
    if source is not None and source.split in BENCHMARKS.get(source.dataset or "", ()):
        category = source.split
    return BenchQuery(
        query_id=record.record_id,
        category=category,
        pairs=form_pairs(record.ranks) if record.obstacle is None else (),
        scores=tuple(scores),
    )
