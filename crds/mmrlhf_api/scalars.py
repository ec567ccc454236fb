"""Bounded numbers and strings that the types share.

Every string, list and map has an upper bound, because the API server prices CEL rules by the
largest object that the schema admits and refuses a CRD that is too dear.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import (
    AfterValidator,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    Strict,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from mmrlhf_api.bounds import MAX_COUNT, MAX_JOB_NAME

__all__ = [
    "Count",
    "DnsLabel",
    "DnsName",
    "Fraction",
    "JobName",
    "LabelKey",
    "LabelMap",
    "LabelValue",
    "Matching",
    "NonNegativeFloat",
    "OpenFraction",
    "PositiveFloat",
    "PositiveFraction",
    "PositiveInt",
    "Seconds",
    "Seed",
    "StringMap",
    "Text",
    "Timestamp",
    "VariableName",
    "Word",
]


@dataclass(frozen=True)
class Matching:
    """Restrict a string to a pattern and say in words what is allowed.

    Attributes:
        pattern: Regular expression (RE2 subset, anchored) that becomes ``pattern`` in the CRD.
        allowed: What is allowed, in words; the error message a user reads.
    """

    pattern: str
    allowed: str

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        expression = re.compile(self.pattern)

        def check(value: str) -> str:
            # fullmatch, because `$` would also accept a trailing newline
            if expression.fullmatch(value) is None:
                raise ValueError(f"must be {self.allowed}")
            return value

        return core_schema.no_info_after_validator_function(check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        json_schema = handler(schema)
        json_schema["pattern"] = self.pattern
        return json_schema


PositiveInt = Annotated[int, Ge(1), Le(2**31 - 1)]
"""An integer from 1."""


Count = Annotated[int, Ge(0), Le(MAX_COUNT)]
"""An integer from 0."""

Seed = Annotated[int, Ge(0), Le(2**32 - 1)]
"""Seed of a random generator; NumPy takes no larger one."""

Seconds = Annotated[int, Ge(0), Le(2**31 - 1)]
"""A duration in whole seconds."""

PositiveFloat = Annotated[float, Gt(0.0)]
"""A number above 0."""

NonNegativeFloat = Annotated[float, Ge(0.0)]
"""A number from 0."""

Fraction = Annotated[float, Ge(0.0), Le(1.0)]
"""A number from 0 to 1."""

PositiveFraction = Annotated[float, Gt(0.0), Le(1.0)]
"""A number above 0 and at most 1."""

OpenFraction = Annotated[float, Ge(0.0), Lt(1.0)]
"""A number from 0 and below 1."""

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"

JobName = Annotated[
    str,
    MinLen(1),
    MaxLen(MAX_JOB_NAME),
    Matching(
        f"^{_LABEL}$",
        "a DNS-1123 label: lower-case letters, digits and '-', starting and ending with a letter "
        "or digit",
    ),
]
"""Name of a job."""

DnsLabel = Annotated[
    str,
    MinLen(1),
    MaxLen(63),
    Matching(
        f"^{_LABEL}$",
        "a DNS-1123 label: lower-case letters, digits and '-', starting and ending with a letter "
        "or digit",
    ),
]
"""A DNS-1123 label, such as a namespace."""

DnsName = Annotated[
    str,
    MinLen(1),
    MaxLen(253),
    Matching(
        rf"^{_LABEL}(\.{_LABEL})*$",
        "a DNS-1123 subdomain: lower-case letters, digits, '-' and '.', starting and ending with "
        "a letter or digit",
    ),
]
"""Name of a Kubernetes object, such as a Secret."""

_QUALIFIED = "[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?"

LabelKey = Annotated[
    str,
    MinLen(1),
    MaxLen(317),
    Matching(
        rf"^({_LABEL}(\.{_LABEL})*/)?{_QUALIFIED}$",
        "a label key: letters, digits, '-', '_' and '.', with an optional DNS prefix and '/'",
    ),
]
"""Key of a label or annotation."""

LabelValue = Annotated[
    str,
    MaxLen(63),
    Matching(
        f"^({_QUALIFIED})?$",
        "a label value: at most 63 letters, digits, '-', '_' and '.', or empty",
    ),
]
"""Value of a label."""

Word = Annotated[str, MinLen(1), MaxLen(256)]
"""A short string that is not empty."""

Text = Annotated[str, MaxLen(32768)]
"""A string."""


def _utc(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("must carry a time zone, such as 2026-01-31T12:00:00Z")
    return value.astimezone(UTC)


def _rfc3339(value: datetime) -> str:
    return value.strftime("%Y-%m-%dT%H:%M:%SZ")


Timestamp = Annotated[
    datetime,
    Strict(strict=False),  # the wire form is a string
    AfterValidator(_utc),
    PlainSerializer(_rfc3339, return_type=str, when_used="json"),
]
"""A point in time, RFC 3339 in UTC with whole seconds on the wire (metav1.Time)."""

StringMap = Annotated[dict[LabelKey, Text], MaxLen(64)]
"""Annotations and other free text by key."""

LabelMap = Annotated[dict[LabelKey, LabelValue], MaxLen(64)]
"""Labels by key."""

VariableName = Annotated[
    str,
    MinLen(1),
    MaxLen(256),
    Matching("^[A-Za-z_][A-Za-z0-9_]*$", "the name of a variable, and never a key itself"),
]
"""Name of an environment variable that holds a credential."""
