"""What a user may add to the pods of a job."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Literal

from annotated_types import Ge, MaxLen, MinLen
from pydantic import AfterValidator, Field, Strict, ValidationInfo

from mmrlhf_api.base import ApiModel
from mmrlhf_api.credentials import PLAIN_ENV, SECRET_ENV, has_password, has_secret
from mmrlhf_api.rules import ACCEPTED, ListOf, Rule
from mmrlhf_api.scalars import (
    DnsName,
    LabelKey,
    LabelMap,
    LabelValue,
    Matching,
    StringMap,
    Text,
)

__all__ = ["RESERVED_ENV", "EnvVar", "PodTemplate", "SecretKeyRef", "Toleration", "given_as_secret"]

RESERVED_ENV = re.compile(
    "^(PET_|MMRLHF_|TORCHELASTIC_|TORCHX_)|"
    "^(RANK|LOCAL_RANK|GROUP_RANK|WORLD_SIZE|LOCAL_WORLD_SIZE|MASTER_ADDR|MASTER_PORT)$"
)
"""Variables that the operator and torchrun set; a user's value would break the wiring."""

_QUEUE_KEYS = "kueue.x-k8s.io/"
"""What Kueue reads from pods that it manages one by one: a gang would wait for itself for ever."""

EnvName = Annotated[
    str,
    MinLen(1),
    MaxLen(256),
    Matching("^[A-Za-z_][A-Za-z0-9_]*$", "a variable name: letters, digits and '_'"),
]
SecretKey = Annotated[
    str,
    MinLen(1),
    MaxLen(253),
    Matching("^[-._a-zA-Z0-9]+$", "a Secret's key: letters, digits, '-', '_' and '.'"),
]


def _without_password(value: str, info: ValidationInfo) -> str:
    # No rule of the CRDs: in 256 values of 32 KiB it would cost more than API servers allow.
    if (info.context or {}).get(ACCEPTED):
        return value
    if has_password(value):
        raise ValueError("must hold no address with user:password@; use secretKeyRef instead")
    if has_secret(value):
        raise ValueError("must hold no token and no private key; use secretKeyRef instead")
    return value


class SecretKeyRef(ApiModel):
    """One key of a Secret in the job's namespace."""

    name: DnsName
    """Name of the Secret."""
    key: SecretKey
    """Key whose value is taken."""


class EnvVar(ApiModel):
    """One environment variable, with its value or the key of a Secret that holds it."""

    name: EnvName
    """Name of the variable; those that wire the processes together are reserved."""
    value: Annotated[Text, AfterValidator(_without_password)] | None = None
    """Value in plain text; not for credentials."""
    secret_key_ref: SecretKeyRef | None = None
    """Key of a Secret that holds the value."""

    rules = (
        Rule(
            f"!self.name.matches('{RESERVED_ENV.pattern}')",
            "this variable is set by mmrlhf or torchrun; remove it",
            field="name",
            check=lambda self: RESERVED_ENV.search(self.name) is None,
            detail="{self.name} is set by mmrlhf or torchrun; remove it",
        ),
        Rule(
            "has(self.value) != has(self.secretKeyRef)",
            "give exactly one of value and secretKeyRef",
            check=lambda self: (self.value is None) != (self.secret_key_ref is None),
        ),
        Rule(
            f"!has(self.value) || !self.name.matches('{SECRET_ENV.pattern}')"
            f" || self.name.matches('{PLAIN_ENV.pattern}')",
            "this variable is a credential; use secretKeyRef",
            field="value",
            check=lambda self: (
                self.value is None
                or SECRET_ENV.search(self.name) is None
                or PLAIN_ENV.search(self.name) is not None
            ),
            detail="{self.name} is a credential; use secretKeyRef instead",
            for_new_jobs=True,
        ),
    )


def given_as_secret(name: str) -> str:
    """Return the CEL expression over a spec that a variable of its pods comes from a Secret.

    Args:
        name: CEL expression for the variable's name.
    """
    return (
        "has(self.podTemplate.env)"
        f" && self.podTemplate.env.exists(one, one.name == {name} && has(one.secretKeyRef))"
    )


class Toleration(ApiModel):
    """A taint the pods tolerate, as in a pod's own tolerations."""

    key: LabelKey | None = None
    """Key of the taint; without it, every taint (operator must be Exists)."""
    operator: Literal["Exists", "Equal"] = "Equal"
    """Whether the taint must exist or equal value."""
    value: LabelValue | None = None
    """Value of the taint, for Equal."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Effect of the taint; without it, all effects."""
    toleration_seconds: Annotated[int, Ge(0)] | None = None
    """Seconds a pod stays after a NoExecute taint appears; without it, for ever."""

    rules = (
        Rule(
            "self.operator != 'Exists' || !has(self.value)",
            "operator Exists takes no value; remove it or use Equal",
            field="value",
            check=lambda self: self.operator != "Exists" or self.value is None,
        ),
        Rule(
            "has(self.key) || self.operator == 'Exists'",
            "operator must be Exists when there is no key",
            field="operator",
            check=lambda self: self.key is not None or self.operator == "Exists",
        ),
        Rule(
            "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
            "tolerationSeconds only holds for effect NoExecute",
            field="tolerationSeconds",
            check=lambda self: self.toleration_seconds is None or self.effect == "NoExecute",
        ),
    )


def _has_no_queue_in(field: str) -> Callable[[PodTemplate], bool]:
    def check(template: PodTemplate) -> bool:
        return not any(key.startswith(_QUEUE_KEYS) for key in getattr(template, field))

    return check


class PodTemplate(ApiModel):
    """Additions to every pod of the job."""

    labels: LabelMap = Field(default_factory=dict)
    """Labels of the pods; those of mmrlhf and of the node pool win."""
    annotations: StringMap = Field(default_factory=dict)
    """Annotations of the pods; those of mmrlhf and of the node pool win."""
    env: Annotated[
        tuple[EnvVar, ...], Strict(strict=False), MaxLen(256), ListOf("map", "name")
    ] = ()
    """Environment variables of the processes."""
    service_account_name: DnsName | None = None
    """Service account of the pods, for instance for an S3 role; its token is not mounted."""
    image_pull_secrets: Annotated[
        tuple[DnsName, ...], Strict(strict=False), MaxLen(16), ListOf("set")
    ] = ()
    """Secrets to pull the image with."""
    node_selector: LabelMap = Field(default_factory=dict)
    """Labels that a node must have; those of the node pool win."""
    tolerations: Annotated[
        tuple[Toleration, ...], Strict(strict=False), MaxLen(64), ListOf("atomic")
    ] = ()
    """Taints the pods tolerate."""

    @property
    def secret_names(self) -> frozenset[str]:
        """Names of the variables that come from Secrets."""
        return frozenset(one.name for one in self.env if one.secret_key_ref is not None)

    rules = tuple(
        Rule(
            f"!has(self.{field}) || self.{field}.all(key, !key.startsWith('{_QUEUE_KEYS}'))",
            f"{field} of {_QUEUE_KEYS} are not for pods of a job; use spec.scheduling.queue",
            field=field,
            check=_has_no_queue_in(field),
            for_new_jobs=True,
        )
        for field in ("labels", "annotations")
    )
