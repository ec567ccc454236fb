"""Base classes of all API types.

Python code uses snake_case, the wire (YAML, JSON, the API server) camelCase. The string under a
field is its description: ``kubectl explain``, ``mmrlhfctl explain`` and the CRDs show it.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    GetJsonSchemaHandler,
    ValidationInfo,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from mmrlhf_api.descriptions import field_descriptions
from mmrlhf_api.rules import ACCEPTED, Rule

__all__ = ["ApiModel", "ServerModel", "wire_dict"]


class ApiModel(BaseModel):
    """Base of everything a user writes: unknown fields and loosely typed values are errors."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        protected_namespaces=(),  # a job has a field named `model`
    )

    rules: ClassVar[tuple[Rule, ...]] = ()
    """What holds between the fields of an object of this type; subclasses add to them."""

    @classmethod
    def description(cls, name: str) -> str | None:
        """Return what is said of a field: in its `Field`, or else by the string under it."""
        if said := cls.model_fields[name].description:
            return said
        own = (base for base in cls.__mro__ if issubclass(base, ApiModel))
        return next((text for base in own if (text := field_descriptions(base).get(name))), None)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        reference = handler(core_schema)
        properties = handler.resolve_ref_schema(reference).get("properties", {})
        for name, field in cls.model_fields.items():
            if (text := cls.description(name)) is not None:
                properties[field.alias or name]["description"] = text
        return reference

    @model_validator(mode="after")
    def _keeps_rules(self, info: ValidationInfo) -> Self:
        accepted = bool((info.context or {}).get(ACCEPTED))
        for rule in self.rules:
            if accepted and rule.for_new_jobs:
                continue
            breach = rule.breach(self)
            if breach is not None:
                raise breach
        return self


class ServerModel(ApiModel):
    """Base of what the API server or the operator writes.

    Unknown fields are ignored here: a newer server or operator may have written them, and that
    must not stop an older reader.
    """

    model_config = ConfigDict(extra="ignore")


def wire_dict(model: ApiModel) -> dict[str, Any]:
    """Return ``model`` as plain JSON data under wire names, without fields that are unset.

    Defaults are included; an optional field without a value is left out, as the API server does.
    """
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)
