"""What is compared: one row a shape of the data."""

from __future__ import annotations

from dataclasses import dataclass, replace

from benchmarks.dpo import lengths
from benchmarks.dpo.lengths import Lengths

__all__ = ["Case", "brief_cases", "full_cases", "small_cases"]


@dataclass(frozen=True)
class Case:
    """One measurement: what is trained, by whom, for how long.

    Attributes:
        name: What it is called.
        lengths: Of all queries of a step.
        images: Every prompt begins with an image, whose tokens are among those of the prompt.
        batch: Pairs per micro-batch for TRL, queries per micro-batch for mmrlhf.
        steps: Timed optimizer steps after one that warms up; 0 times that one alone.
        trainer: "trl" or "mmrlhf".
        layers: Layers of the decoder.
    """

    name: str
    lengths: Lengths
    images: bool = False
    batch: int = 1
    steps: int = 1
    trainer: str = "mmrlhf"
    layers: int = 12


def _equal(n: int, prompt: int, response: int, queries: int, *, images: bool = False) -> Case:
    name = f"{'images, ' if images else ''}n={n} P={prompt} R={response}"
    return Case(name, lengths.equal(n, prompt, response, queries), images)


def _log_normal(n: int, prompt: int, response: int, queries: int) -> Case:
    name = f"log-normal, n={n} P~{prompt} R~{response}"
    return Case(name, lengths.log_normal(n, prompt, response, queries, seed=3))


def _digits(queries: int) -> Case:
    return Case("digits, n=4", lengths.digits_lengths()[:queries])


# The pairs of a step divide by every batch size of TRL.
def brief_cases() -> tuple[Case, ...]:
    """One of each kind, with a third of the layers, for a machine with other work on it."""
    cases = (
        _equal(4, 256, 32, 2),
        _equal(4, 128, 16, 1),
        _log_normal(4, 64, 16, 2),
        _digits(2),
        _equal(4, 272, 16, 1, images=True),
    )
    return tuple(replace(case, layers=4) for case in cases)


def small_cases() -> tuple[Case, ...]:
    """What is measured by default."""
    return (
        _equal(4, 512, 64, 2),
        _equal(3, 256, 128, 4),
        _log_normal(4, 256, 64, 4),
        _digits(16),
        _equal(4, 320, 64, 2, images=True),
    )


def full_cases() -> tuple[Case, ...]:
    """All of it."""
    return (
        *small_cases(),
        _equal(2, 512, 64, 12),
        _equal(4, 829, 200, 2),
        _equal(4, 1600, 100, 2),
        _equal(9, 512, 64, 1),
        _log_normal(4, 512, 128, 8),
    )
