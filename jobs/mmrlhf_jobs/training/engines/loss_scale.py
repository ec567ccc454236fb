"""The factor on the loss that keeps small gradients from vanishing in float16."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mmrlhf_jobs.errors import TrainingError

__all__ = ["LossScale", "scale_exhausted"]

FIRST: Final = 2.0**16
"""As DeepSpeed begins (its documentation, ``fp16.initial_scale_power``)."""
WINDOW: Final = 1000
"""Steps without an overflow after which the scale doubles (``fp16.loss_scale_window``)."""


@dataclass
class LossScale:
    """A scale that is halved at each overflow, and doubled when there was none for a while.

    Attributes:
        value: The scale, a power of two.
        clean: Steps since it changed.
    """

    value: float = FIRST
    clean: int = 0

    def overflowed(self) -> None:
        """Halve it.

        Raises:
            TrainingError: It is 1 already.
        """
        if self.value <= 1:
            raise scale_exhausted()
        self.value, self.clean = self.value / 2, 0

    def succeeded(self) -> None:
        """Count a step, and double the scale if there were enough."""
        self.clean += 1
        if self.clean == WINDOW:
            self.value, self.clean = self.value * 2, 0


def scale_exhausted() -> TrainingError:
    """The error when gradients overflow at any scale."""
    return TrainingError(
        "gradients overflow float16 even where the loss is not scaled: train in bfloat16 "
        "(model.dtype), or lower optimizer.learningRate. The last checkpoint is unharmed"
    )
