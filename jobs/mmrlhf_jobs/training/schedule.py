"""Learning-rate schedules as pure functions of the step."""

from __future__ import annotations

import math
from typing import Literal

__all__ = ["learning_rate"]


def learning_rate(
    step: int,
    *,
    total_steps: int,
    peak: float,
    warmup_ratio: float,
    schedule: Literal["cosine", "linear", "constant"],
) -> float:
    """Learning rate of an optimizer step.

    Linear warm-up over ``ceil(warmup_ratio * total_steps)`` steps, then the schedule down to 0 at
    ``total_steps``. The first step already learns (rate ``peak / warmup_steps``), where
    transformers' ``get_cosine_schedule_with_warmup`` spends it at rate 0.

    Args:
        step: 0-based step.
        total_steps: Steps of the whole job.
        peak: Rate after warm-up.
        warmup_ratio: Share of the steps that warm up, 0 to 1.
        schedule: Shape after warm-up.
    """
    warmup_steps = math.ceil(warmup_ratio * total_steps)
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    if schedule == "constant":
        return peak
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    if schedule == "linear":
        return peak * (1.0 - progress)
    return peak * 0.5 * (1.0 + math.cos(math.pi * progress))
