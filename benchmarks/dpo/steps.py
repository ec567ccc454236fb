"""What a training tells of its steps: times, losses, tokens."""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass

import torch

__all__ = ["Clock", "Step", "Trained", "peak_memory"]


@dataclass(frozen=True)
class Step:
    """One timed optimizer step."""

    seconds: float
    cpu_seconds: float


@dataclass(frozen=True)
class Trained:
    """What was measured.

    Attributes:
        steps: All steps but the first one, which warms up, unless it is the only one.
        losses: Loss of every step, the first one included.
        tokens: Tokens of a step, padding left out.
        places: The same with padding.
        before_bytes: Memory at most until the first step began.
        peak_bytes: Memory at most.
    """

    steps: list[Step]
    losses: list[float]
    tokens: int
    places: int
    before_bytes: int
    peak_bytes: int


class Clock:
    """Marks the ends of steps, when all that was begun is done; a step lies between two of them."""

    def __init__(self) -> None:
        self.marks: list[tuple[float, float]] = []

    def mark(self) -> None:
        """End a step."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.marks.append((time.perf_counter(), time.process_time()))

    def steps(self) -> list[Step]:
        """All steps but the first one, which warms up, unless it is the only one."""
        pairs = zip(self.marks, self.marks[1:], strict=False)
        steps = [Step(b[0] - a[0], b[1] - a[1]) for a, b in pairs]
        return steps[1:] or steps


def peak_memory() -> int:
    """Largest memory of a card so far, else the largest resident one of this process, in bytes."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
