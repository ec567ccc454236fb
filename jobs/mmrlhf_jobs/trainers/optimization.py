"""The loop of optimizer steps, as a generator of figures.

The loop computes and updates; whoever iterates over it logs, saves checkpoints and stops.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from mmrlhf_api import Optimizer
from mmrlhf_jobs.data.dataset import RankedDataset
from mmrlhf_jobs.errors import TrainingError
from mmrlhf_jobs.trainers.engine import Engine
from mmrlhf_jobs.trainers.interruption import Interruption
from mmrlhf_jobs.trainers.preference_objective import (
    PreferenceObjective,
    StepCounts,
    step_counts,
)
from mmrlhf_jobs.trainers.queries import Query, QueryBuilder
from mmrlhf_jobs.trainers.runtime import Runtime
from mmrlhf_jobs.trainers.schedule import learning_rate
from mmrlhf_jobs.trainers.steps import Step, StepPlan, micro_batches

__all__ = ["PreferenceLoop", "StepFigures"]


@dataclass(frozen=True)
class StepFigures:
    """Figures of one optimizer step, over all processes.

    Attributes:
        step: Steps done, this one included.
        epoch: 0-based epoch of the step.
        loss: Preference loss plus weighted supervised loss.
        preference_loss: Mean over pairs.
        supervised_loss: Token mean over chosen responses, nats.
        margin: Mean implicit reward margin ``beta_ori (h_w - h_l)``; with the initial beta, so
            that strategies compare.
        accuracy: Share of pairs with a positive implicit reward margin.
        beta: Mean beta over pairs.
        beta_spread: Standard deviation of beta over pairs.
        disagreement: Share of pairs that the reward model orders against the ranks.
        pairs: Pairs in the step.
        tokens: Tokens forwarded, padding left out.
        learning_rate: Rate of the step.
        gradient_norm: Norm before clipping.
        interrupted: A process was asked to stop.
    """

    step: int
    epoch: int
    loss: float
    preference_loss: float
    supervised_loss: float
    margin: float
    accuracy: float
    beta: float
    beta_spread: float
    disagreement: float
    pairs: int
    tokens: int
    learning_rate: float
    gradient_norm: float
    interrupted: bool

    def row(self) -> dict[str, float | int]:
        """The row of ``metrics.jsonl``, by wire name."""
        return {
            "step": self.step,
            "epoch": self.epoch,
            "loss": self.loss,
            "preferenceLoss": self.preference_loss,
            "supervisedLoss": self.supervised_loss,
            "margin": self.margin,
            "accuracy": self.accuracy,
            "beta": self.beta,
            "betaSpread": self.beta_spread,
            "disagreement": self.disagreement,
            "pairs": self.pairs,
            "tokens": self.tokens,
            "learningRate": self.learning_rate,
            "gradientNorm": self.gradient_norm,
        }


@dataclass(frozen=True)
class PreferenceLoop:
    """Optimizer steps of a preference training.

    Attributes:
        engine: Owns weights and optimizer.
        objective: Turns log-probabilities into a loss.
        plan: Which records every step takes.
        optimizer: Learning rate and its schedule.
        beta: Initial beta, the unit of reported margins.
        sft_weight: Weight of the supervised loss.
        seed: Seed of the data order.
        runtime: Process group.
        interruption: Whether this process was asked to stop.
    """

    engine: Engine
    objective: PreferenceObjective
    plan: StepPlan
    optimizer: Optimizer
    beta: float
    sft_weight: float
    seed: int
    runtime: Runtime
    interruption: Interruption

    def run(
        self, dataset: RankedDataset, builder: QueryBuilder, *, start: int
    ) -> Iterator[StepFigures]:
        """Do the steps from `start` on, and yield the figures of each when it is done.

        Raises:
            TrainingError: A loss or gradient is not finite; the weights are as before the step.
        """
        spare = self._spare(dataset, builder)
        steps = self.plan.steps(dataset, builder, seed=self.seed, start=start, runtime=self.runtime)
        for step in steps:
            yield self._do(step, spare)

    def _spare(self, dataset: RankedDataset, builder: QueryBuilder) -> Query:
        """A query for processes that have none left in a step."""
        first = next(dataset.batches(seed=0, epoch=0, start=0, batch_size=1, rank=0, world_size=1))
        return builder.build(first[0])

    def _do(self, step: Step, spare: Query) -> StepFigures:
        own = step_counts(step.queries)
        pairs, chosen_tokens, interrupted = self.runtime.sum(
            [own.pairs, own.chosen_tokens, float(self.interruption.requested)]
        )
        counts = StepCounts(pairs=pairs, chosen_tokens=chosen_tokens)
        totals = dict.fromkeys(self.objective.SUMS, 0.0)
        batches = micro_batches(
            step.queries,
            size=self.plan.queries_per_micro_batch,
            count=step.micro_batches,
            spare=spare,
        )
        for number, (queries, counted) in enumerate(batches):
            log_probs = self.engine.score([query.encoded for query in queries])
            micro = self.objective.loss(
                queries,
                log_probs,
                counts=counts,
                draw=step.index * step.micro_batches + number,
                counted=counted,
            )
            if not math.isfinite(float(micro.loss.detach())):
                records = ", ".join(query.record_id for query in queries)
                raise TrainingError(
                    f"step {step.index + 1}: the loss is {float(micro.loss.detach())} on records "
                    f"{records}; lower optimizer.learningRate or look at these records. The last "
                    "checkpoint is unharmed"
                )
            self.engine.backward(micro.loss)
            for name, value in micro.sums.items():
                totals[name] += value
        rate = learning_rate(
            step.index,
            total_steps=self.plan.total_steps,
            peak=self.optimizer.learning_rate,
            warmup_ratio=self.optimizer.warmup_ratio,
            schedule=self.optimizer.schedule,
        )
        norm = self.engine.step(learning_rate=rate)
        if norm is not None and not math.isfinite(norm):
            raise TrainingError(
                f"step {step.index + 1}: the gradient norm is {norm}; lower "
                "optimizer.learningRate. The last checkpoint is unharmed"
            )
        sums = dict(zip(totals, self.runtime.sum(list(totals.values())), strict=True))
        return self._figures(step, counts, sums, rate=rate, norm=norm, interrupted=interrupted > 0)

    def _figures(
        self,
        step: Step,
        counts: StepCounts,
        sums: dict[str, float],
        *,
        rate: float,
        norm: float | None,
        interrupted: bool,
    ) -> StepFigures:
        pairs = max(counts.pairs, 1.0)
        preference = sums["preference"] / pairs
        supervised = sums["supervised"] / max(counts.chosen_tokens, 1.0)
        mean_beta = sums["beta"] / pairs
        variance = max(sums["beta_square"] / pairs - mean_beta**2, 0.0)
        return StepFigures(
            step=step.index + 1,
            epoch=step.epoch,
            loss=preference + self.sft_weight * supervised,
            preference_loss=preference,
            supervised_loss=supervised,
            margin=self.beta * sums["gap"] / pairs,
            accuracy=sums["correct"] / pairs,
            beta=mean_beta,
            beta_spread=math.sqrt(variance),
            disagreement=sums["disagreements"] / pairs,
            pairs=int(counts.pairs),
            tokens=int(sums["tokens"]),
            learning_rate=rate,
            gradient_norm=math.nan if norm is None else norm,
            interrupted=interrupted,
        )
