"""Kubernetes resource quantities such as ``500m``, ``2`` or ``8Gi``."""

from __future__ import annotations

import re
from decimal import Decimal

__all__ = ["NO_QUANTITY", "QUANTITY_PATTERN", "parse_quantity"]

# The API server's own pattern for quantities, without signs: a negative amount makes no sense here.
QUANTITY_PATTERN = (
    r"^([0-9]+(\.[0-9]*)?|\.[0-9]+)(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][-+]?[0-9]{1,3})?$"
)

_EXPRESSION = re.compile(QUANTITY_PATTERN)
_SUFFIXES = {
    "": Decimal(1),
    "m": Decimal("0.001"),
    "k": Decimal(10) ** 3,
    "M": Decimal(10) ** 6,
    "G": Decimal(10) ** 9,
    "T": Decimal(10) ** 12,
    "P": Decimal(10) ** 15,
    "E": Decimal(10) ** 18,
    "Ki": Decimal(2) ** 10,
    "Mi": Decimal(2) ** 20,
    "Gi": Decimal(2) ** 30,
    "Ti": Decimal(2) ** 40,
    "Pi": Decimal(2) ** 50,
    "Ei": Decimal(2) ** 60,
}
NO_QUANTITY = "must be a Kubernetes quantity above 0, such as 500m, 2 or 8Gi"
"""What is said of a text that is none."""


def parse_quantity(text: str) -> Decimal:
    """Return the amount that a quantity stands for: cores for CPU, bytes for memory.

    Raises:
        ValueError: ``text`` is not a quantity.
    """
    match = _EXPRESSION.fullmatch(text)
    if match is None:
        raise ValueError(NO_QUANTITY)
    number, _, suffix = match.groups()
    suffix = suffix or ""
    if suffix in _SUFFIXES:
        return Decimal(number) * _SUFFIXES[suffix]
    return Decimal(f"{number}{suffix}")
