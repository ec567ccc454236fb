"""Plain torch on one process."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import nn

from mmrlhf_api import Optimizer
from mmrlhf_jobs.errors import TrainingError
from mmrlhf_jobs.models.adapter import EncodedGroup
from mmrlhf_jobs.process.gang import Runtime
from mmrlhf_jobs.training.engines.interface import make_optimizer
from mmrlhf_jobs.training.engines.registry import EngineSpec, register
from mmrlhf_jobs.training.engines.tensor_files import read_tensors

__all__ = ["TorchEngine", "TorchFactory"]

Out = TypeVar("Out")


@register("none")
@dataclass(frozen=True)
class TorchFactory:
    """Plain torch; half precision is autocast over float32 weights.

    Attributes:
        spec: What the job says.
        runtime: Process group, of one process.
    """

    spec: EngineSpec
    runtime: Runtime
    name = "torch"
    weights_dtype = "float32"
    collective_forward = False
    is_sharded = False

    def build(self, module: nn.Module) -> TorchEngine[Any]:
        """Put an engine around a module."""
        dtype = self.spec.model.dtype
        return TorchEngine(
            module,
            self.spec.optimizer,
            device=self.runtime.device,
            autocast=None if dtype == "float32" else getattr(torch, dtype),
        )


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
        self._optimizer = make_optimizer(module, settings)
        self._parameters = [
            parameter for group in self._optimizer.param_groups for parameter in group["params"]
        ]

    def forward(self, groups: Sequence[EncodedGroup]) -> Out:
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
            TrainingError: The checkpoint holds other parameters than the model trains, or more
                than tensors.
        """
        state = read_tensors(folder / "torch.pt")
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
