"""Jobs that other objects hold: their kinds, specs that are not whole yet, values put into them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, WithJsonSchema

__all__ = ["OpenSpec", "Scalar", "TemplateKind"]

_UNKNOWN = {"x-kubernetes-preserve-unknown-fields": True}


def _is_scalar(value: object) -> object:
    if isinstance(value, str | bool | int | float):
        return value
    raise ValueError("must be a string, a number, true or false")


Scalar = Annotated[Any, AfterValidator(_is_scalar), WithJsonSchema(_UNKNOWN)]
"""A string, a number or a truth value; it keeps its type where it stands alone."""

OpenSpec = Annotated[dict[str, Any], WithJsonSchema({"type": "object", **_UNKNOWN})]
"""Spec of a job of which some values are put in later: the schema lets anything stand there."""

TemplateKind = Literal["StepJob", "ClusterSampleJob", "RewardTrainJob", "MMDPOJob"]
"""Kinds of jobs that others may make."""
