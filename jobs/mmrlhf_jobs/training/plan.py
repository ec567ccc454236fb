"""Optimizer steps as batches of queries, prepared one step ahead of the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic

from mmrlhf_jobs.data.dataset import RankedDataset
from mmrlhf_jobs.data.records import RankedResponse
from mmrlhf_jobs.process.gang import Runtime
from mmrlhf_jobs.queries.protocols import Builder, Q
from mmrlhf_jobs.training.ahead import ahead
from mmrlhf_jobs.training.balance import deal, estimate_cost

__all__ = ["Step", "StepPlan", "micro_batches"]


@dataclass(frozen=True)
class Step(Generic[Q]):
    """One optimizer step's share of this process.

    Attributes:
        index: 0-based step of the job.
        epoch: 0-based epoch.
        queries: Queries of this process, maybe none.
        micro_batches: Micro-batches that every process runs, so that collectives match.
    """

    index: int
    epoch: int
    queries: tuple[Q, ...]
    micro_batches: int


@dataclass(frozen=True)
class StepPlan:
    """Which records every step takes: a pure function of data set, seed and step.

    The global batch of a step does not depend on the number of processes, which share it by what
    its queries cost. The last step of an epoch takes what is left.

    Attributes:
        num_records: Records of the data set.
        queries_per_step: Records of one step, over all processes.
        queries_per_micro_batch: Records that go through the model at once, on one process.
        epochs: Passes over the data.
        max_steps: Steps after which to stop, even within an epoch.
    """

    num_records: int
    queries_per_step: int
    queries_per_micro_batch: int
    epochs: int
    max_steps: int | None

    @property
    def steps_per_epoch(self) -> int:
        """Steps that one pass takes."""
        return -(-self.num_records // self.queries_per_step)

    @property
    def total_steps(self) -> int:
        """Steps of the job."""
        total = self.epochs * self.steps_per_epoch
        return total if self.max_steps is None else min(total, self.max_steps)

    def micro_batches(self, step: int, *, world_size: int) -> int:
        """Micro-batches of the process that has most of them."""
        start = (step % self.steps_per_epoch) * self.queries_per_step
        size = min(self.queries_per_step, self.num_records - start)
        per_process = -(-size // world_size)
        return -(-per_process // self.queries_per_micro_batch)

    def steps(
        self,
        dataset: RankedDataset,
        builder: Builder[Q],
        *,
        seed: int,
        start: int,
        runtime: Runtime,
    ) -> Iterator[Step[Q]]:
        """Steps from `start` on; the next is read and built while the model works on this one."""
        records = self._records(dataset, seed=seed, start=start, runtime=runtime)
        return ahead(self._build(builder, *one, runtime.world_size) for one in records)

    def _records(
        self, dataset: RankedDataset, *, seed: int, start: int, runtime: Runtime
    ) -> Iterator[tuple[int, Sequence[RankedResponse]]]:
        index = start
        while index < self.total_steps:
            epoch, first = divmod(index, self.steps_per_epoch)
            for records in dataset.batches(
                seed=seed, epoch=epoch, start=first, batch_size=self.queries_per_step
            ):
                costs = [estimate_cost(record) for record in records]
                share = deal(costs, runtime.world_size)[runtime.rank]
                yield index, [records[place] for place in share]
                index += 1
                if index >= self.total_steps:
                    return

    def _build(
        self, builder: Builder[Q], index: int, records: Sequence[RankedResponse], world_size: int
    ) -> Step[Q]:
        return Step(
            index=index,
            epoch=index // self.steps_per_epoch,
            queries=tuple(builder.build(record) for record in records),
            micro_batches=self.micro_batches(index, world_size=world_size),
        )


def micro_batches(
    queries: Sequence[Q], *, size: int, count: int, spare: Q
) -> list[tuple[tuple[Q, ...], bool]]:
    """Split a step's queries into micro-batches of similar lengths.

    Sorting by length saves padding and changes nothing else: the step's gradient is a sum over
    its queries. A process with fewer queries than another runs `spare` with weight 0, because
    every process must take part in every collective.

    Returns:
        `count` pairs of queries and whether they count.
    """
    ordered = sorted(queries, key=lambda query: query.encoded.tokens, reverse=True)
    batches = [(tuple(ordered[i : i + size]), True) for i in range(0, len(ordered), size)]
    return batches + [((spare,), False)] * (count - len(batches))
