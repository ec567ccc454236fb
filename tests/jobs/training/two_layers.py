"""A module of two layers, the engines that train it, and its steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from mmrlhf_api import Optimizer, Parallelism
from mmrlhf_jobs.process.gang import Runtime
from mmrlhf_jobs.training.engines.torch_engine import TorchEngine

__all__ = ["make", "step"]

ROWS = 8
"""Rows of a step, over all processes."""


class Net(nn.Module):
    """Two layers of odd sizes, with weights that are frozen."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(7, 11)
        self.frozen = nn.Linear(11, 11, bias=False).requires_grad_(requires_grad=False)
        self.second = nn.Linear(11, 3)
        self.to(dtype)

    def forward(self, groups: Sequence[torch.Tensor]) -> torch.Tensor:
        """The second layer's answers, float32[rows, 3]."""
        rows = torch.stack(list(groups)).to(self.first.weight.dtype)
        answers: torch.Tensor = self.second(torch.tanh(self.frozen(self.first(rows)))).float()
        return answers


def make(dtype: torch.dtype, stage: int, runtime: Runtime, offload: Any = "none") -> Any:
    """An engine with the module; stage 0 is plain torch."""
    settings = Optimizer(max_grad_norm=1.0, weight_decay=0.1)
    if stage == 0:
        return TorchEngine(Net(dtype), settings, runtime)
    from mmrlhf_jobs.training.engines.deepspeed_engine import DeepSpeedEngine

    return DeepSpeedEngine(
        Net(dtype),
        settings,
        parallelism=Parallelism(zero_stage=stage, offload=offload),
        runtime=runtime,
        dtype=dtype,
    )


def step(engine: Any, number: int, runtime: Runtime) -> float:
    """One step on rows that its number alone decides; return the loss over all processes."""
    rows = torch.randn(ROWS, 7, generator=torch.Generator().manual_seed(number))
    own = rows[runtime.rank :: runtime.world_size]
    loss = (engine.forward(list(own)) ** 2).sum() / ROWS
    engine.backward(loss)
    assert engine.step(learning_rate=0.05) is not None
    return runtime.sum([float(loss.detach())])[0]
