"""Engines: what owns parameters, gradients and the optimizer of a training.

The trainer gives an engine one scalar loss per micro-batch, each already divided by the counts of
the whole optimizer step over all processes, so that gradients add up: over micro-batches and over
processes alike. An engine therefore sums, where most libraries average.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

import torch
from torch import nn

from mmrlhf_api import Optimizer
from mmrlhf_jobs.models.adapter import EncodedGroup
from mmrlhf_jobs.models.shares import Splitter, shape_of
from mmrlhf_jobs.models.weights import Weight
from mmrlhf_jobs.training.engines.state import Fragment
from mmrlhf_jobs.training.engines.tensor_files import SavedState

__all__ = ["Engine", "EngineFactory", "make_optimizer"]

Out_co = TypeVar("Out_co", covariant=True)


class Engine(Protocol[Out_co]):
    """What the trainer needs of an engine."""

    def forward(self, groups: Sequence[EncodedGroup]) -> Out_co:
        """What the module makes of several queries."""

    def backward(self, loss: torch.Tensor) -> None:
        """Accumulate the gradient of one micro-batch; the loss is a scalar."""

    def step(self, *, learning_rate: float) -> float | None:
        """Sum gradients over processes, clip, update, clear; return the norm before clipping.

        None: a gradient overflowed float16 at the scale that the loss had. Nothing was updated, and
        the next step takes a smaller scale.

        Raises:
            TrainingError: The scale cannot become smaller.
        """

    @property
    def replicated(self) -> bool:
        """Whether each process holds all of the training state, so that it may save any share."""

    def fragments(self) -> list[Fragment]:
        """What this process holds of the training state, as views, which later steps change."""

    def counters(self) -> dict[str, float]:
        """What else must be kept, the same on every process: the scale of the loss in float16."""

    def load(self, saved: SavedState, counters: Mapping[str, float]) -> None:
        """Take over a state, saved by any engine; it holds what `fragments` names at least.

        Every process must call it.

        Raises:
            TrainingError: It is not that of this model.
        """

    def weights(self) -> AbstractContextManager[Mapping[str, Weight]]:
        """All weights of the module, frozen ones included, for rank 0 to read while it is inside.

        Every process must come here. Where they share the weights, the others are held up to put
        together what is read, and are let in to none when rank 0 has left.
        """


class EngineFactory(Protocol):
    """Makes the engine of a training, and tells what must be known before there is one."""

    @property
    def name(self) -> str:
        """Its name in checkpoints and manifests."""

    @property
    def kind(self) -> str:
        """Its name in ``parallelism.engine``."""

    @property
    def collective_forward(self) -> bool:
        """Whether all processes must make as many forward passes, each with all that is trained.

        They wait for each other in every pass: to gather weights, or to sum as many gradients.
        """

    def split(self) -> Splitter | None:
        """What divides weights over processes while they are read; None: each process has all."""

    def build(self, module: nn.Module) -> Engine[Any]:
        """Put an engine around a module, with ``requires_grad`` set as the job wants it."""


def make_optimizer(trainable: Sequence[torch.Tensor], settings: Optimizer) -> torch.optim.AdamW:
    """AdamW on what is trained, without weight decay for biases and norms (one-dimensional).

    Fused: one pass over the weights that makes nothing in between. With small steps the plain
    update is a fifth of a step on a CPU, most of it memory that is taken and given back.
    """
    groups = [
        {
            "params": [p for p in trainable if len(shape_of(p)) >= 2],
            "weight_decay": settings.weight_decay,
        },
        {"params": [p for p in trainable if len(shape_of(p)) < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        eps=settings.epsilon,
        fused=True,
    )
