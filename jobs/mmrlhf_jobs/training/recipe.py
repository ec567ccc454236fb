"""What a kind of training supplies; the loop, checkpoints and publication are the same for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch

from mmrlhf_jobs.evaluation.results import Evaluation, EvaluationResult
from mmrlhf_jobs.forward.responses import GroupModel
from mmrlhf_jobs.models.weights import Weight
from mmrlhf_jobs.queries.protocols import Builder, Q, TrainingQuery
from mmrlhf_jobs.training.checkpoints import RunInputs
from mmrlhf_jobs.training.inputs import OpenDataset, Policy
from mmrlhf_jobs.training.samples import Samples

__all__ = ["Figures", "MicroLoss", "Objective", "Out", "PreparedRun", "Recipe"]


Out = TypeVar("Out")
"""What the model of a kind makes of several queries."""
Q_contra = TypeVar("Q_contra", bound=TrainingQuery, contravariant=True)
Out_contra = TypeVar("Out_contra", contravariant=True)


@dataclass(frozen=True)
class MicroLoss:
    """Loss of a micro-batch and its figures.

    Attributes:
        loss: Scalar with gradient, this micro-batch's share of the step's loss.
        sums: Sums that add up over micro-batches and processes, by name; always the same names.
        rows: Loss of each query, which sums up over nothing; empty for a spare micro-batch.
    """

    loss: torch.Tensor
    sums: dict[str, float]
    rows: Sequence[float] = ()


@dataclass(frozen=True)
class Figures:
    """What is told of a step.

    Attributes:
        loss: The step's loss.
        margin: Mean margin between preferred and other responses.
        accuracy: Share of pairs with a margin above 0.
        row: These and everything else, by wire name, for ``metrics.jsonl``.
    """

    loss: float
    margin: float
    accuracy: float
    row: Mapping[str, float | int]


class Objective(Protocol[Q_contra, Out_contra]):
    """Turns what the model makes of queries into a loss.

    Losses are sums divided by counts of the whole optimizer step over all processes (ADR 0003).
    """

    def counts(self, queries: Sequence[Q_contra]) -> dict[str, float]:
        """Counts of one process's queries; known before any forward pass."""

    def loss(
        self,
        queries: Sequence[Q_contra],
        output: Out_contra,
        *,
        counts: Mapping[str, float],
        draw: int,
        counted: bool = True,
    ) -> MicroLoss:
        """Share of the step's loss that these queries make.

        Args:
            queries: Queries of the micro-batch.
            output: What the model makes of them.
            counts: Counts of the whole step.
            draw: Number of this micro-batch in the job, for sampling.
            counted: False for a spare micro-batch, whose loss and sums are 0.
        """

    def figures(self, counts: Mapping[str, float], sums: Mapping[str, float]) -> Figures:
        """Figures of a whole step."""

    def check_first(self, counts: Mapping[str, float], sums: Mapping[str, float]) -> None:
        """Look at the first step of a training, whose model is as it was loaded.

        Raises:
            TrainingError: Its figures are not what they must be.
        """

    def state(self) -> dict[str, float]:
        """What a checkpoint must keep."""

    def restore(self, state: dict[str, float]) -> None:
        """Go on from a checkpoint."""


@dataclass(frozen=True)
class PreparedRun(Generic[Q, Out]):
    """A run, ready for the first step.

    Attributes:
        module: What is trained; an engine calls it with groups.
        train: Records to train on.
        builder: Makes queries of them.
        objective: Makes losses of them.
        evaluation: Evaluates on the held-out records, if there are any.
        digests: What the run is made from.
        record: What the manifest says of the run beside the usual.
        metrics: Figures that are known before the first step, by wire name.
        samples: Queries that the model has answered, for the report; rank 0 may have some.
    """

    module: GroupModel
    train: OpenDataset
    builder: Builder[Q]
    objective: Objective[Q, Out]
    evaluation: Evaluation[Out] | None
    digests: RunInputs
    record: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    samples: Samples | None = None


class Recipe(Protocol[Q, Out]):
    """One kind of training."""

    def prepare(
        self, policy: Policy, train: OpenDataset, held_out: OpenDataset | None
    ) -> PreparedRun[Q, Out]:
        """Check and compute everything that the first step needs.

        Raises:
            InputError: The input is wrong.
            Interrupted: The job was asked to stop.
        """

    def save(self, policy: Policy, weights: Mapping[str, Weight], folder: Path) -> None:
        """Write the trained model (rank 0).

        Args:
            policy: The model as it was loaded.
            weights: Weights of the module, without an adapter.
            folder: Folder to create.
        """

    def save_adapter(self, policy: Policy, weights: Mapping[str, Weight], folder: Path) -> None:
        """Write the adapter alone (rank 0), of a policy that has one; as `save`."""

    def assess(self, model_uri: str) -> Mapping[str, EvaluationResult]:
        """Measure the published model, on all processes; results by name."""
