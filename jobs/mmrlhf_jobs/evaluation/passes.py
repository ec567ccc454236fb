"""One pass over held-out data, shared among the processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch

from mmrlhf_jobs.data.dataset import RankedDataset
from mmrlhf_jobs.data.records import RankedResponse
from mmrlhf_jobs.process.gang import Runtime
from mmrlhf_jobs.queries.protocols import Builder, Q

__all__ = ["EvaluationPass"]

Value = TypeVar("Value")


@dataclass(frozen=True)
class EvaluationPass(Generic[Q]):
    """This process's share of a data set, in batches.

    Attributes:
        dataset: Held-out records.
        builder: Makes queries of them.
        runtime: Process group.
        queries_per_batch: Queries that go through the model at once.
    """

    dataset: RankedDataset
    builder: Builder[Q]
    runtime: Runtime
    queries_per_batch: int

    @torch.no_grad()
    def run(
        self, compute: Callable[[Sequence[Q]], Sequence[Value]], *, spare: bool
    ) -> Iterator[tuple[RankedResponse, Q, Value]]:
        """Compute a value for every query.

        Args:
            compute: One value for each query.
            spare: Compute for a query that was computed before, and drop the value, where this
                process has no query left and others have: their forward pass may be collective.
        """
        last: list[Q] = []
        for records in self.dataset.batches(
            seed=0,
            epoch=0,
            start=0,
            batch_size=self.queries_per_batch * self.runtime.world_size,
            rank=self.runtime.rank,
            world_size=self.runtime.world_size,
        ):
            queries = [self.builder.build(record) for record in records]
            if queries:
                last = queries[:1]
                yield from zip(records, queries, compute(queries), strict=True)
            elif spare and last:
                compute(last)
