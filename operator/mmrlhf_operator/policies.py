"""What jobs of a namespace may ask of the cluster: the administrator's lists.

Who may create a job makes the operator create pods. A policy says which: it lists what a job may
name, by patterns in which ``*`` stands for any characters. A pattern that begins with ``!`` takes
away what the others allow.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated

from annotated_types import MaxLen, MinLen
from pydantic import AfterValidator, Strict

from mmrlhf_api.base import ApiModel
from mmrlhf_api.scalars import Matching

__all__ = ["Policies", "Policy", "allows", "allows_all", "allows_pair", "matches", "policy_for"]

EVERYTHING = "*"
_EXCEPT = "!"


def _allow_something(patterns: tuple[str, ...]) -> tuple[str, ...]:
    if patterns and all(pattern.startswith(_EXCEPT) for pattern in patterns):
        raise ValueError(
            "allows nothing: there are exceptions alone. Put '*' before them, or write [] to allow"
            " nothing"
        )
    return patterns


Pattern = Annotated[
    str,
    MinLen(1),
    MaxLen(512),
    Matching(r"^!?[^\s!]\S*$", "a pattern without spaces, such as registry.example.org/*"),
]
Patterns = Annotated[
    tuple[Pattern, ...], Strict(strict=False), MaxLen(256), AfterValidator(_allow_something)
]


class Policy(ApiModel):
    """What jobs in some namespaces may name.

    What is left out is as it stands here. An empty list allows nothing; what the operator's own
    configuration and its node pools name is always allowed.
    """

    namespaces: Patterns = (EVERYTHING,)
    """Namespaces that it is for."""
    images: Patterns = (EVERYTHING,)
    """Images of spec.image, as jobs write them: with registry, tag and digest."""
    secrets: Patterns = (EVERYTHING,)
    """Secrets that pods get: of the store, of podTemplate.env, and to pull images with."""
    service_accounts: Patterns = (EVERYTHING,)
    """Service accounts, which may stand for a role in a cloud."""
    priority_classes: Patterns = (EVERYTHING, "!system-*")
    """Priority classes. Those of Kubernetes itself would evict what keeps nodes alive."""
    tolerations: Patterns = (EVERYTHING, "!node-role.kubernetes.io/*")
    """Keys of taints. A toleration without key is of all of them, and so takes '*' without any
    exception."""
    node_selectors: Patterns = (EVERYTHING, "!node-role.kubernetes.io/*")
    """Labels of nodes: keys, or KEY=VALUE."""
    labels: Patterns = (EVERYTHING,)
    """Labels of the pods: keys, or KEY=VALUE."""
    annotations: Patterns = (
        EVERYTHING,
        "!k8s.v1.cni.cncf.io/*",
        "!v1.multus-cni.io/*",
        "!cni.projectcalico.org/*",
        "!k8s.ovn.org/*",
        "!container.apparmor.security.beta.kubernetes.io/*",
        "!seccomp.security.alpha.kubernetes.io/*",
    )
    """Annotations of the pods: keys, or KEY=VALUE. Networks are for node pools to give, and what
    confines a container is the operator's."""
    node_pools: Patterns = (EVERYTHING,)
    """Node pools, some of which may give pods their node's network, capabilities or volumes."""
    endpoints: Patterns = (EVERYTHING,)
    """Object stores: a host, with scheme or port where they matter, such as
    https://*.example.org; jobs without an endpoint use s3.amazonaws.com."""


def _reachable(policies: tuple[Policy, ...]) -> tuple[Policy, ...]:
    for number, policy in enumerate(policies[:-1]):
        if allows_all(policy.namespaces):
            raise ValueError(
                f"entry {number} is for all namespaces, so that those below it are never reached;"
                " put it last"
            )
    return policies


Policies = Annotated[
    tuple[Policy, ...], Strict(strict=False), MaxLen(256), AfterValidator(_reachable)
]


def policy_for(policies: Iterable[Policy], namespace: str) -> Policy:
    """Return the first policy that is for a namespace; the defaults where none is."""
    return next((one for one in policies if allows(one.namespaces, namespace)), Policy())


def allows(patterns: Iterable[str], *texts: str) -> bool:
    """Whether patterns allow something that may be written in several ways.

    Args:
        patterns: What is allowed, and what is not, by ``!``.
        texts: The ways to write it: one that is allowed is enough, one that is not is too many.
    """
    return _allows((pattern, text) for pattern in patterns for text in texts)


def allows_pair(patterns: Iterable[str], key: str, value: str) -> bool:
    """Whether patterns allow a label or annotation; those with ``=`` are of key and value."""
    pair = f"{key}={value}"
    return _allows((pattern, pair if "=" in pattern else key) for pattern in patterns)


def allows_all(patterns: Sequence[str]) -> bool:
    """Whether patterns allow whatever there is."""
    return EVERYTHING in patterns and not any(one.startswith(_EXCEPT) for one in patterns)


def matches(pattern: str, text: str) -> bool:
    """Whether a text is that of a pattern, in which ``*`` stands for any characters.

    The time is that of a search for each piece between two stars.
    """
    first, *rest = pattern.split("*")
    if not rest:
        return text == first
    *middle, last = rest
    if not text.startswith(first):
        return False
    place = len(first)
    for piece in middle:
        found = text.find(piece, place)
        if found < 0:
            return False
        place = found + len(piece)
    return len(text) - place >= len(last) and text.endswith(last)


def _allows(judged: Iterable[tuple[str, str]]) -> bool:
    allowed = False
    for pattern, text in judged:
        if pattern.startswith(_EXCEPT):
            if matches(pattern.removeprefix(_EXCEPT), text):
                return False
        else:
            allowed = allowed or matches(pattern, text)
    return allowed
