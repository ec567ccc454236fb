"""What holds beyond plain JSON schema, for the types and for the API server alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from mmrlhf_api.errors import FieldError

__all__ = ["ACCEPTED", "ListOf", "Rule", "Ruled"]

ACCEPTED = "accepted"
"""Key of pydantic's validation context: whether a job is read as it was accepted once."""


@dataclass(frozen=True)
class Rule:
    """What must hold between the fields of an object, said once for the API server and for Python.

    The CRDs have the CEL expression (for API servers from 1.25), and `ApiModel` calls the check; a
    test holds that they agree.

    Attributes:
        cel: CEL expression over ``self``. One that names ``oldSelf`` is about changes, which only
            the server sees: it has no check.
        message: What the user reads when it does not hold; the server shows the object's path only,
            so it names the field.
        field: Wire path of the field at fault, relative to the object; empty for the object itself.
        check: The same as ``cel`` over the Python object; the types of its fields are checked.
        detail: What is said where the field is shown and values can be, as a format over ``self``;
            without it, the message without the field's name in front.
        for_new_jobs: Whether it is younger than jobs that may still run, which it must not stop: it
            is left out where a job is read as it was accepted.
    """

    cel: str
    message: str
    field: str = ""
    check: Callable[[Any], bool] | None = None
    detail: str | None = None
    for_new_jobs: bool = False

    def breach(self, model: object) -> FieldError | None:
        """Say what is wrong with an object; None when the rule holds."""
        if self.check is None or self.check(model):
            return None
        if self.detail is not None:
            return FieldError(self.field, self.detail.format(self=model))
        return FieldError(self.field, self.message.removeprefix(f"{self.field} "))


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
        entry = {"rule": self.rule.cel, "message": self.rule.message}
        json_schema.setdefault("x-kubernetes-validations", []).append(entry)
        return json_schema


@dataclass(frozen=True)
class ListOf:
    """How server-side apply merges a list (``x-kubernetes-list-type``).

    Entries of a map must differ in their key, as the server demands.

    Attributes:
        kind: ``map`` merges entries by ``key``, ``set`` by value, ``atomic`` not at all.
        key: Field that tells entries of a map apart.
    """

    kind: Literal["map", "set", "atomic"]
    key: str | None = None

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Validate as without this annotation, and that keys of a map are unique."""
        if self.key is None:
            return handler(source)
        return core_schema.no_info_after_validator_function(self._unique, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Add the list type to the schema."""
        json_schema = handler(schema)
        json_schema["x-kubernetes-list-type"] = self.kind
        if self.key is not None:
            json_schema["x-kubernetes-list-map-keys"] = [self.key]
        return json_schema

    def _unique(self, entries: Sequence[Any]) -> Sequence[Any]:
        assert self.key is not None
        seen: set[object] = set()
        for index, entry in enumerate(entries):
            value = getattr(entry, self.key)
            if value in seen:
                raise FieldError(f"[{index}].{self.key}", f"{value} is given twice")
            seen.add(value)
        return entries
