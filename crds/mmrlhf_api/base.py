"""Base classes of all API types.

Python code uses snake_case, the wire (YAML, JSON, the API server) camelCase. The string under a
field is its description: ``kubectl explain``, ``mmrlhfctl explain`` and the CRDs show it.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationInfo, model_validator
from pydantic.alias_generators import to_camel

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
        use_attribute_docstrings=True,
        protected_namespaces=(),  # a job has a field named `model`
    )

    rules: ClassVar[tuple[Rule, ...]] = ()
    """What holds between the fields of an object of this type; subclasses add to them."""

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
