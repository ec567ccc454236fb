"""What some families do to logits after their output layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

__all__ = ["LogitShape"]


@dataclass(frozen=True)
class LogitShape:
    """Logits are multiplied, then bent: ``cap * tanh(scale * x / cap)``.

    Attributes:
        scale: Factor of all logits, as in Cohere (``logit_scale``) and Granite (one through
            ``logits_scaling``).
        cap: What no logit passes, as in Gemma 2 (``final_logit_softcapping``); None: no limit.
    """

    scale: float = 1.0
    cap: float | None = None

    @classmethod
    def of(cls, config: Any) -> Self:  # noqa: ANN401 - configurations of families have no common type
        """The shape that a language model's configuration asks for."""
        scale = getattr(config, "logit_scale", None)
        divisor = getattr(config, "logits_scaling", None)
        cap = getattr(config, "final_logit_softcapping", None)
        factor = 1.0 if scale is None else float(scale)
        return cls(
            scale=factor if divisor is None else factor / float(divisor),
            cap=None if cap is None else float(cap),
        )

    def bend(self, logits: Tensor) -> Tensor:
        """Logits as the model's own forward pass gives them; may be the same tensor."""
        if self.scale != 1.0:
            logits = logits * self.scale
        return logits if self.cap is None else self.cap * torch.tanh(logits / self.cap)

    def unbend_(self, slope: Tensor, bent: Tensor | None) -> Tensor:
        """Turn a gradient of bent logits into one of the output layer's, in its own memory.

        Args:
            slope: Gradient, ``[T, V]``; is changed.
            bent: What `bend` has given; not looked at without a cap.
        """
        if self.cap is not None and bent is not None:
            slope.mul_(1 - (bent / self.cap).square())
        return slope if self.scale == 1.0 else slope.mul_(self.scale)
