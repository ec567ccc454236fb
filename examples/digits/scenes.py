"""Scenes: which digits a picture or a video shows, and by which scans."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from examples.digits.scans import ScanPool

__all__ = ["MAX_DIGITS", "Scene", "compose_scene"]

MAX_DIGITS = 4


@dataclass(frozen=True)
class Scene:
    """Digits from left to right (or frame by frame) and the scans that show them."""

    digits: tuple[int, ...]
    scans: tuple[int, ...]


def compose_scene(pool: ScanPool, rng: Random, *, length: int | None = None) -> Scene:
    """Draws 2 to :data:`MAX_DIGITS` digits; in a third of the scenes one digit occurs twice."""
    length = rng.randint(2, MAX_DIGITS) if length is None else length
    digits = [rng.randrange(10) for _ in range(length)]
    if rng.random() < 1 / 3:
        first, second = rng.sample(range(length), 2)
        digits[second] = digits[first]
    return Scene(tuple(digits), tuple(pool.draw(digit, rng) for digit in digits))
