"""Fields that hold a quantity of Kubernetes; see `mmrlhf_api.quantities`."""

from __future__ import annotations

from typing import Annotated

from annotated_types import MaxLen
from pydantic import BeforeValidator, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from mmrlhf_api.quantities import NO_QUANTITY, QUANTITY_PATTERN, parse_quantity

__all__ = ["Quantity"]


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
                raise ValueError(NO_QUANTITY)
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
