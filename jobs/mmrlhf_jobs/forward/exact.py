"""A linear layer that computes in float32, whatever an engine casts the model's weights to.

DeepSpeed casts every parameter of a module to the job's number format and keeps float32 masters of
them, which its optimizer updates. A layer whose result must not be rounded reads the masters: the
engine hands them over after every update, and gradients go to the parameters as they are.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["ExactLinear"]


class ExactLinear(nn.Linear):
    """Computes in float32 at least, with autocast off.

    Attributes:
        masters: Float32 value of each parameter that was cast to fewer bits, by its name.
    """

    def __init__(self, in_features: int, out_features: int, *, bias: bool = True) -> None:
        super().__init__(in_features, out_features, bias=bias)
        self.masters: dict[str, Tensor] = {}

    def forward(self, states: Tensor) -> Tensor:
        """``[N, in]`` of any number format to ``[N, out]``, float32 (float64 for such weights)."""
        with torch.autocast(states.device.type, enabled=False):
            weight = self._wide("weight", self.weight)
            product = states.to(weight.dtype) @ weight.T
            # nn.Linear says that there is one.
            if self.bias is not None:
                product = product + self._wide("bias", self.bias)
        return product

    def _wide(self, name: str, parameter: Tensor) -> Tensor:
        if parameter.dtype in (torch.float32, torch.float64):
            return parameter
        wide: Tensor = _Master.apply(parameter, self.masters[name])
        return wide


class _Master(torch.autograd.Function):
    """The master's value; its gradient is that of the parameter."""

    @staticmethod
    def forward(ctx: Any, parameter: Tensor, master: Tensor) -> Tensor:  # noqa: ANN401
        ctx.dtype = parameter.dtype
        return master.view_as(master)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        return upstream.to(ctx.dtype), None
