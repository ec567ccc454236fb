"""Plain torch on one process, or on several that each hold all of the model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Generic, TypeVar

import torch
import torch.distributed as dist
from torch import nn

from mmrlhf_api import Optimizer
from mmrlhf_jobs.errors import SpecError
from mmrlhf_jobs.models.adapter import EncodedGroup
from mmrlhf_jobs.models.weights import Weight, held
from mmrlhf_jobs.process.gang import Runtime
from mmrlhf_jobs.training.engines.interface import make_optimizer
from mmrlhf_jobs.training.engines.loss_scale import LossScale
from mmrlhf_jobs.training.engines.registry import EngineSpec, register
from mmrlhf_jobs.training.engines.state import MASTER, Fragment
from mmrlhf_jobs.training.engines.tensor_files import SavedState

__all__ = ["TorchEngine", "TorchFactory"]

Out = TypeVar("Out")


@register("none")
@dataclass(frozen=True)
class TorchFactory:
    """Plain torch, in the number format of the job, with float32 masters of what is trained.

    Attributes:
        spec: What the job says.
        runtime: Process group, of one process.
    """

    spec: EngineSpec
    runtime: Runtime
    name = "torch"
    kind = "none"
    collective_forward = False

    def __post_init__(self) -> None:
        """Refuse what is DeepSpeed's.

        Raises:
            SpecError: Something is to be kept in main memory.
        """
        if self.spec.parallelism.offload != "none":
            raise SpecError(
                f"spec.parallelism.offload: {self.spec.parallelism.offload} is for DeepSpeed, and "
                "one process trains by plain torch; set parallelism.engine to deepspeed, or take "
                "offload none"
            )

    def split(self) -> None:
        """Every process has all weights."""

    def build(self, module: nn.Module) -> TorchEngine[Any]:
        """Put an engine around a module."""
        return TorchEngine(module, self.spec.optimizer, self.runtime)


class TorchEngine(Generic[Out]):
    """Plain torch AdamW; several processes sum their gradients, and all make the same update.

    AdamW on bfloat16 weights loses updates smaller than 1/256 of a weight. So what is trained and
    is not float32 has a float32 master: gradients are summed and the optimizer works there, and
    each update is rounded into the weights, as DeepSpeed does it.

    Args:
        module: What is trained, with `requires_grad` set as the job wants it.
        settings: Optimizer settings of the job.
        runtime: Process group.
    """

    def __init__(self, module: nn.Module, settings: Optimizer, runtime: Runtime) -> None:
        self._model = module
        self._runtime = runtime
        self._max_norm = settings.max_grad_norm
        self._trained = {
            name: parameter
            for name, parameter in module.named_parameters()
            if parameter.requires_grad
        }
        self._masters = {name: _master(parameter) for name, parameter in self._trained.items()}
        self._optimizer = make_optimizer(list(self._masters.values()), settings)
        half = any(parameter.dtype == torch.float16 for parameter in self._trained.values())
        self._scale = LossScale() if half else None

    def forward(self, groups: Sequence[EncodedGroup]) -> Out:
        """What the module makes of several queries."""
        result: Out = self._model(groups)
        return result

    def backward(self, loss: torch.Tensor) -> None:
        """Accumulate the gradient of one micro-batch."""
        (loss if self._scale is None else loss * self._scale.value).backward()

    def step(self, *, learning_rate: float) -> float | None:
        """Sum, clip, update, clear; return the norm before clipping, None where float16 overflowed.

        Nothing is updated by gradients that are not finite.
        """
        masters = list(self._masters.values())
        if self._runtime.world_size > 1:
            self._sum_over_processes(masters)
        if self._scale is not None:
            for master in masters:
                if master.grad is not None:
                    master.grad.div_(self._scale.value)
        norm = float(torch.nn.utils.clip_grad_norm_(masters, self._max_norm))
        if not math.isfinite(norm):
            if self._scale is None:
                return norm
            self._optimizer.zero_grad(set_to_none=True)
            self._scale.overflowed()
            return None
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self._round()
        if self._scale is not None:
            self._scale.succeeded()
        return norm

    @property
    def replicated(self) -> bool:
        """Every process holds all of it."""
        return True

    def fragments(self) -> list[Fragment]:
        """Masters and moments of all that is trained."""
        found = []
        for name, master in self._masters.items():
            state = self._optimizer.state.get(master, {})
            values = {kind: _flat(state[kind]) for kind in state if kind != "step"}
            step = float(state.get("step", 0.0))
            found.append(Fragment(name, 0, {MASTER: _flat(master), **values}, step))
        return found

    def counters(self) -> dict[str, float]:
        """The scale of the loss, and since when it is that."""
        return {} if self._scale is None else asdict(self._scale)

    @torch.no_grad()
    def load(self, saved: SavedState, counters: Mapping[str, float]) -> None:
        """Take over a state; see `Engine.load`."""
        saved.check({name: master.numel() for name, master in self._masters.items()})
        for name, master in self._masters.items():
            found = saved.read(name, 0, master.numel())
            # A fused update goes through memory: moments lie there as their weights do.
            values = {
                kind: torch.empty_like(master).copy_(value.reshape(master.shape))
                for kind, value in found.values.items()
            }
            master.copy_(values.pop(MASTER))
            step = torch.tensor(found.step, device=master.device)
            self._optimizer.state[master] = {"step": step, **values}
            if not values:
                del self._optimizer.state[master]
        self._round()
        if self._scale is not None and counters:
            self._scale = LossScale(float(counters["value"]), int(counters["clean"]))

    def _sum_over_processes(self, masters: Sequence[torch.Tensor]) -> None:
        """Sum gradients; what no process has used has none, as on one process."""
        used = self._runtime.sum([float(master.grad is not None) for master in masters])
        for master, users in zip(masters, used, strict=True):
            if users:
                if master.grad is None:
                    master.grad = torch.zeros_like(master)
                dist.all_reduce(master.grad)

    @torch.no_grad()
    def _round(self) -> None:
        """Round the masters into the weights."""
        for name, parameter in self._trained.items():
            if self._masters[name] is not parameter:
                parameter.copy_(self._masters[name])

    @contextmanager
    def weights(self) -> Iterator[Mapping[str, Weight]]:
        """All weights, as the model holds them."""
        yield held(self._model.state_dict())


def _flat(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor as one row of numbers."""
    return tensor.detach().reshape(-1)


def _master(parameter: nn.Parameter) -> torch.Tensor:
    """The tensor that the optimizer updates, which collects the parameter's gradient."""
    if parameter.dtype in (torch.float32, torch.float64):
        return parameter
    master = parameter.detach().float().requires_grad_()

    def collect(of: torch.Tensor) -> None:
        # Micro-batches are summed in float32, and the rounded gradient is freed at once.
        assert of.grad is not None
        if master.grad is None:
            master.grad = of.grad.float()
        else:
            master.grad += of.grad
        of.grad = None

    parameter.register_post_accumulate_grad_hook(collect)
    return master
