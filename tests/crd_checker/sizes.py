"""How large a string, list or map may be."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["SCALARS", "UNKNOWN", "Size", "exactly"]

SCALARS = frozenset({"bool", "double", "duration", "int", "timestamp", "uint"})
"""Types whose values all have size 1."""


@dataclass(frozen=True)
class Size:
    """Characters of a string, bytes of bytes, entries of a list or map: least and most."""

    least: int
    most: int

    def __add__(self, other: Size) -> Size:
        return Size(self.least + other.least, self.most + other.most)

    def __mul__(self, other: Size) -> Size:
        return Size(self.least * other.least, self.most * other.most)

    def times(self, factor: float) -> int:
        """Return the most that a factor of this comes to, rounded up."""
        return math.ceil(self.most * factor)


UNKNOWN = Size(0, 2**64 - 1)


def exactly(size: int) -> Size:
    """Return a size that is known."""
    return Size(size, size)
