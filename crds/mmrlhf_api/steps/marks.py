"""How fields of a step's settings stand on its command line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["POSITIONAL", "Flag", "Positional"]


@dataclass(frozen=True)
class Positional:
    """Marks a field that stands on the command line without a flag, in the order of the fields."""


POSITIONAL: Final = Positional()


@dataclass(frozen=True)
class Flag:
    """Gives a field another flag than its name.

    Attributes:
        name: The flag, with its dashes.
    """

    name: str
