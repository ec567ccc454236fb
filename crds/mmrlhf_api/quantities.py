"""Kubernetes resource quantities such as ``500m``, ``2`` or ``8Gi``."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated

from annotated_types import MaxLen
from pydantic import BeforeValidator, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

__all__ = ["QUANTITY_PATTERN", "Quantity", "parse_quantity"]

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
_ALLOWED = "must be a Kubernetes quantity above 0, such as 500m, 2 or 8Gi"


def parse_quantity(text: str) -> Decimal:
    """Return the amount that a quantity stands for: cores for CPU, bytes for memory.

    Raises:
        ValueError: ``text`` is not a quantity.
    """
    match = _EXPRESSION.fullmatch(text)
    if match is None:
        raise ValueError(_ALLOWED)
    number, _, suffix = match.groups()
    suffix = suffix or ""
    if suffix in _SUFFIXES:
        return Decimal(number) * _SUFFIXES[suffix]
    return Decimal(f"{number}{suffix}")


def _as_text(value: object) -> object:
    # YAML reads `cpu: 2` and `cpu: 0.5` as numbers, and the API server takes both forms.
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return value


class _QuantityRule:
    """Checks the text and makes the schema int-or-string."""

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        def check(value: str) -> str:
            if parse_quantity(value) <= 0:
                raise ValueError(_ALLOWED)
            return value

        return core_schema.no_info_after_validator_function(check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        del schema, handler
        return {
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "x-kubernetes-int-or-string": True,
            "pattern": QUANTITY_PATTERN,
            "maxLength": 32,
        }


Quantity = Annotated[str, MaxLen(32), _QuantityRule(), BeforeValidator(_as_text)]
"""A Kubernetes quantity above 0; a plain number is taken as well."""
