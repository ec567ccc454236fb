"""What the types tell the API server beyond plain JSON schema."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

__all__ = ["ListOf", "Rule", "Ruled"]


@dataclass(frozen=True)
class Rule:
    """A CEL rule that the API server (1.25 and later) checks where pydantic has a validator.

    A rule that names ``oldSelf`` is about changes, which only the server sees.

    Attributes:
        rule: CEL expression over ``self``.
        message: What the user reads when it does not hold.
    """

    rule: str
    message: str


@dataclass(frozen=True)
class Ruled:
    """Give a value that is no model a rule, which only the CRDs have.

    Attributes:
        rule: The rule.
    """

    rule: Rule

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Validate as without this annotation."""
        return handler(source)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Add the rule to the schema."""
        json_schema = handler(schema)
        entry = {"rule": self.rule.rule, "message": self.rule.message}
        json_schema["x-kubernetes-validations"] = [entry]
        return json_schema


@dataclass(frozen=True)
class ListOf:
    """How server-side apply merges a list (``x-kubernetes-list-type``).

    Attributes:
        kind: ``map`` merges entries by ``key``, ``set`` by value, ``atomic`` not at all.
        key: Field that tells entries of a map apart.
    """

    kind: Literal["map", "set", "atomic"]
    key: str | None = None

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Validate as without this annotation."""
        return handler(source)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Add the list type to the schema."""
        json_schema = handler(schema)
        json_schema["x-kubernetes-list-type"] = self.kind
        if self.key is not None:
            json_schema["x-kubernetes-list-map-keys"] = [self.key]
        return json_schema
