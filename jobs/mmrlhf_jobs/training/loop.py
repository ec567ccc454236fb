"""The loop of optimizer steps, as a generator of figures.

The loop computes and updates; whoever iterates over it logs, saves checkpoints and stops.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic

from mmrlhf_api import Optimizer
from mmrlhf_api.listing import first_few
from mmrlhf_jobs.data.dataset import RankedDataset
from mmrlhf_jobs.errors import TrainingError
from mmrlhf_jobs.process.gang import Runtime
from mmrlhf_jobs.process.interruption import Interruption
from mmrlhf_jobs.queries.protocols import Builder, Q
from mmrlhf_jobs.training.ahead import timed
from mmrlhf_jobs.training.engines.interface import Engine
from mmrlhf_jobs.training.plan import Step, StepPlan, micro_batches
from mmrlhf_jobs.training.recipe import Objective, Out
from mmrlhf_jobs.training.schedule import learning_rate

__all__ = ["OptimizerLoop", "StepFigures"]


@dataclass(frozen=True)
class StepFigures:
    """Figures of one optimizer step, over all processes.

    Attributes:
        step: Steps done, this one included.
        loss: The step's loss.
        margin: Mean margin of the pairs, in the unit of the objective.
        accuracy: Share of the pairs with a margin above 0.
        tokens: Tokens forwarded, padding left out.
        row: The row of ``metrics.jsonl``, by wire name.
        interrupted: A process was asked to stop.
        skipped: A gradient overflowed float16, and nothing was updated.
        losses: Name and loss of each query of this process.
        busy: Processes that were at work on something else when the step began.
        waited: Seconds that this process has waited for its queries.
    """

    step: int
    loss: float
    margin: float
    accuracy: float
    tokens: int
    row: Mapping[str, float | int]
    interrupted: bool
    skipped: bool = False
    losses: Sequence[tuple[str, float]] = ()
    busy: int = 0
    waited: float = 0.0


@dataclass(frozen=True)
class OptimizerLoop(Generic[Q, Out]):
    """Optimizer steps of a training.

    Attributes:
        engine: Owns weights and optimizer.
        objective: Turns what the model makes of queries into a loss.
        plan: Which records every step takes.
        optimizer: Learning rate and its schedule.
        seed: Seed of the data order.
        runtime: Process group.
        interruption: Whether this process was asked to stop.
        is_busy: Whether this process is at work on something beside the steps, as all are to know.
        clock: Seconds, growing steadily.
    """

    engine: Engine[Out]
    objective: Objective[Q, Out]
    plan: StepPlan
    optimizer: Optimizer
    seed: int
    runtime: Runtime
    interruption: Interruption
    is_busy: Callable[[], bool] = lambda: False
    clock: Callable[[], float] = time.monotonic

    def run(
        self, dataset: RankedDataset, builder: Builder[Q], *, start: int
    ) -> Iterator[StepFigures]:
        """Do the steps from `start` on, and yield the figures of each when it is done.

        Raises:
            TrainingError: A loss or gradient is not finite, or the first step is not what it must
                be; no checkpoint was made since.
        """
        spare = self._spare(dataset, builder)
        steps = self.plan.steps(dataset, builder, seed=self.seed, start=start, runtime=self.runtime)
        position = self.runtime.position
        for step, waited in timed(steps, self.clock):
            with position.timed(step.index + 1, first=step.index == start):
                figures = self._do(step, spare)
            yield replace(figures, waited=waited)

    def _spare(self, dataset: RankedDataset, builder: Builder[Q]) -> Q:
        """A query for processes that have none left in a step."""
        return builder.build(next(dataset.share()))

    def _do(self, step: Step[Q], spare: Q) -> StepFigures:
        position = self.runtime.position
        position.enter("counting pairs", rows=_row_names(step.queries))
        own = self.objective.counts(step.queries)
        *totals, interrupted, busy = self.runtime.sum(
            [*own.values(), float(self.interruption.requested), float(self.is_busy())]
        )
        counts = dict(zip(own, totals, strict=True))
        local: dict[str, float] = defaultdict(float)
        losses: list[tuple[str, float]] = []
        batches = micro_batches(
            step.queries,
            size=self.plan.queries_per_micro_batch,
            count=step.micro_batches,
            spare=spare,
        )
        for number, (queries, counted) in enumerate(batches):
            place = f"micro-batch {number + 1} of {step.micro_batches}"
            position.enter(f"forward of {place}", rows=_row_names(queries))
            output = self.engine.forward([query.encoded for query in queries])
            micro = self.objective.loss(
                queries,
                output,
                counts=counts,
                draw=step.index * step.micro_batches + number,
                counted=counted,
            )
            if not math.isfinite(float(micro.loss.detach())):
                raise TrainingError(
                    f"step {step.index + 1}: the loss is {float(micro.loss.detach())} on "
                    f"{_names(queries)}. Lower optimizer.learningRate or look at these records. "
                    "The last checkpoint is unharmed"
                )
            position.enter(f"backward of {place}")
            self.engine.backward(micro.loss)
            for name, value in micro.sums.items():
                local[name] += value
            if counted:
                losses += zip((query.name for query in queries), micro.rows, strict=True)
        rate = learning_rate(
            step.index,
            total_steps=self.plan.total_steps,
            peak=self.optimizer.learning_rate,
            warmup_ratio=self.optimizer.warmup_ratio,
            schedule=self.optimizer.schedule,
        )
        position.enter("update of the weights", rows=_row_names(step.queries))
        norm = self.engine.step(learning_rate=rate)
        position.enter("figures of the step")
        if norm is not None and not math.isfinite(norm):
            raise TrainingError(
                f"step {step.index + 1}: the gradient norm is {norm} on "
                f"{_names(step.queries)}. Lower optimizer.learningRate or look at these records. "
                "The last checkpoint is unharmed"
            )
        sums = dict(zip(local, self.runtime.sum(list(local.values())), strict=True))
        if step.index == 0:
            self.objective.check_first(counts, sums)
        figures = self.objective.figures(counts, sums)
        return StepFigures(
            step=step.index + 1,
            loss=figures.loss,
            margin=figures.margin,
            accuracy=figures.accuracy,
            tokens=int(sums["tokens"]),
            row={
                "step": step.index + 1,
                "epoch": step.epoch,
                **figures.row,
                "tokens": int(sums["tokens"]),
                "learningRate": rate,
                **({"skipped": 1} if norm is None else {"gradientNorm": norm}),
            },
            interrupted=interrupted > 0,
            skipped=norm is None,
            losses=losses,
            busy=int(busy),
        )


def _names(queries: tuple[Q, ...]) -> str:
    return "; ".join(first_few(_row_names(queries)))


def _row_names(queries: tuple[Q, ...]) -> list[str]:
    return [query.name for query in queries]
