"""Engines: what owns parameters, gradients and the optimizer of a training.

The trainer gives an engine one scalar loss per micro-batch, each already divided by the counts of
the whole optimizer step over all processes, so that gradients add up: over micro-batches and over
processes alike. An engine therefore sums, where most libraries average.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import nn

from mmrlhf_api import Optimizer
from mmrlhf_jobs.errors import TrainingError
from mmrlhf_jobs.models.adapter import EncodedGroup

__all__ = ["Engine", "TorchEngine", "parameter_groups"]

Out = TypeVar("Out")
Out_co = TypeVar("Out_co", covariant=True)


class Engine(Protocol[Out_co]):
    """What the trainer needs of an engine."""

    def score(self, groups: Sequence[EncodedGroup]) -> Out_co:
        """What the module makes of several queries."""

    def backward(self, loss: torch.Tensor) -> None:
        """Accumulate the gradient of one micro-batch; the loss is a scalar."""

    def step(self, *, learning_rate: float) -> float:
        """Sum gradients over processes, clip, update, clear; return the norm before clipping."""

    def save(self, folder: Path) -> None:
        """Write this process's share of the training state into a folder."""

    def load(self, folder: Path) -> None:
        """Read back what `save` wrote."""

    def weights(self) -> dict[str, torch.Tensor]:
        """All weights of the module, frozen ones included; complete on rank 0."""


def parameter_groups(model: nn.Module, *, weight_decay: float) -> list[dict[str, Any]]:
    """Trainable parameters, without weight decay for biases and norms (one-dimensional ones)."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


class TorchEngine(Generic[Out]):
    """Plain torch AdamW on one process.

    Weights and optimizer state are float32. A half-precision dtype runs the forward pass under
    autocast, because AdamW on bfloat16 weights loses updates smaller than 1/256 of a weight.

    Args:
        module: What is trained, with `requires_grad` set as the job wants it.
        settings: Optimizer settings of the job.
        device: Device of the weights.
        autocast: Dtype of the forward pass, if not float32.
    """

    def __init__(
        self,
        module: nn.Module,
        settings: Optimizer,
        *,
        device: torch.device,
        autocast: torch.dtype | None = None,
    ) -> None:
        self._model = module
        self._device = device
        self._autocast = autocast
        self._max_norm = settings.max_grad_norm
        self._optimizer = torch.optim.AdamW(
            parameter_groups(module, weight_decay=settings.weight_decay),
            lr=settings.learning_rate,
            betas=(settings.beta1, settings.beta2),
            eps=settings.epsilon,
        )
        self._parameters = [
            parameter for group in self._optimizer.param_groups for parameter in group["params"]
        ]

    def score(self, groups: Sequence[EncodedGroup]) -> Out:
        """What the module makes of several queries."""
        enabled = self._autocast is not None
        with torch.autocast(self._device.type, dtype=self._autocast, enabled=enabled):
            result: Out = self._model(groups)
        return result

    def backward(self, loss: torch.Tensor) -> None:
        """Accumulate the gradient of one micro-batch."""
        loss.backward()

    def step(self, *, learning_rate: float) -> float:
        """Clip, update, clear; return the norm before clipping.

        Nothing is updated by gradients that are not finite.
        """
        norm = float(torch.nn.utils.clip_grad_norm_(self._parameters, self._max_norm))
        if not math.isfinite(norm):
            return norm
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return norm

    def save(self, folder: Path) -> None:
        """Write trainable weights and optimizer state."""
        trainable = {
            name: parameter.detach()
            for name, parameter in self._model.named_parameters()
            if parameter.requires_grad
        }
        torch.save(
            {"weights": trainable, "optimizer": self._optimizer.state_dict()}, folder / "torch.pt"
        )

    def load(self, folder: Path) -> None:
        """Read back what `save` wrote.

        Raises:
            TrainingError: The checkpoint holds other parameters than the model trains.
        """
        state = torch.load(folder / "torch.pt", map_location="cpu", weights_only=True)
        trainable = {n: p for n, p in self._model.named_parameters() if p.requires_grad}
        if set(trainable) != set(state["weights"]):
            odd = min(set(trainable) ^ set(state["weights"]))
            raise TrainingError(
                f"the checkpoint in {folder} does not fit the model: parameter {odd} is trained in "
                "only one of the two. Start over with checkpoint.resume: none"
            )
        with torch.no_grad():
            for name, parameter in trainable.items():
                parameter.copy_(state["weights"][name])
        self._optimizer.load_state_dict(state["optimizer"])

    def weights(self) -> dict[str, torch.Tensor]:
        """All weights, as the model holds them."""
        return dict(self._model.state_dict())
