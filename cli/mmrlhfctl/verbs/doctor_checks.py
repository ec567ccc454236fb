"""What ``doctor`` finds, as data; judging is pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from mmrlhf.client.times import parse_time
from mmrlhf_api.listing import first_few
from mmrlhfctl.durations import format_age

__all__ = [
    "Finding",
    "State",
    "describe_differences",
    "gang_providers",
    "gpu_nodes",
    "judge_deployment",
    "judge_lease",
    "judge_server_version",
    "node_pools",
    "schema_differences",
]

_GANG_GROUPS = {
    "kueue.x-k8s.io": "kueue",
    "scheduling.volcano.sh": "volcano",
    "scheduling.x-k8s.io": "coscheduling",
}
_OLDEST, _WITH_CEL = (1, 20), (1, 25)
_DIFFERENCES = 5


class State(StrEnum):
    """How a check came out."""

    OK = "ok"
    """As it should be."""
    INFO = "info"
    """Worth knowing."""
    WARNING = "warning"
    """Works, but not all of it, or it could not be checked."""
    FAILED = "failed"
    """Jobs will not run before this is mended."""


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        check: What was looked at.
        state: How it came out.
        text: What was found.
        advice: What to do about it; empty when there is nothing to do.
    """

    check: str
    state: State
    text: str
    advice: str = ""


def judge_server_version(version: Mapping[str, Any]) -> Finding:
    """Judge the version of the API server."""
    text = str(version.get("gitVersion") or "unknown")
    match = re.match(r"v(\d+)\.(\d+)", text)
    if match is None:
        return Finding("api server", State.WARNING, f"version {text} is not understood")
    number = (int(match[1]), int(match[2]))
    if number < _OLDEST:
        return Finding("api server", State.FAILED, f"Kubernetes {text}", "1.20 is the oldest")
    if number < _WITH_CEL:
        return Finding(
            "api server",
            State.WARNING,
            f"Kubernetes {text}: rules between fields are not checked at admission before 1.25",
            "the operator checks them and says so in the condition Accepted",
        )
    return Finding("api server", State.OK, f"Kubernetes {text}")


def schema_differences(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> list[str]:
    """Return the fields in which the schema of an installed CRD differs from this version's.

    Descriptions, rules and limits do not count: fields, types and choices do.
    """
    return list(_differences(theirs, ours, ""))


def _differences(theirs: Mapping[str, Any], ours: Mapping[str, Any], path: str) -> Iterator[str]:
    if "properties" in ours or "properties" in theirs:
        mine, other = ours.get("properties") or {}, theirs.get("properties") or {}
        for name in mine:
            here = f"{path}.{name}".lstrip(".")
            if name not in other:
                yield f"lacks {here}"
            elif here != "metadata":
                yield from _differences(other[name], mine[name], here)
        for name in other:
            if name not in mine:
                yield f"has {path}.{name}, which this version does not know".replace(" .", " ")
    for key in ("type", "enum"):
        if ours.get(key) != theirs.get(key):
            yield f"{path or 'the object'} has another {key}"
    if isinstance(ours.get("items"), Mapping) and isinstance(theirs.get("items"), Mapping):
        yield from _differences(theirs["items"], ours["items"], f"{path}[]")


def describe_differences(found: Sequence[str]) -> str:
    """Return differences in one line, the first few by name."""
    return "; ".join(first_few(found, shown=_DIFFERENCES))


def judge_lease(lease: Mapping[str, Any] | None, now: datetime) -> Finding:
    """Judge the Lease that the operator renews as long as it lives."""
    if lease is None:
        return Finding(
            "operator lease",
            State.FAILED,
            "no operator has ever run here: there is no Lease mmrlhf-operator",
            "install the operator; one that runs outside of the cluster takes --leader-elect",
        )
    spec = lease.get("spec") or {}
    renewed = parse_time(spec.get("renewTime"))
    holder = spec.get("holderIdentity") or ""
    where = f"in namespace {lease['metadata']['namespace']}"
    if renewed is None or not holder:
        return Finding(
            "operator lease", State.FAILED, f"nobody holds the Lease {where}", "start the operator"
        )
    age = format_age(renewed, now)
    if (now - renewed).total_seconds() > 2 * float(spec.get("leaseDurationSeconds") or 15):
        return Finding(
            "operator lease",
            State.FAILED,
            f"{holder} {where} gave its last sign of life {age} ago",
            "see the operator's pods and logs",
        )
    return Finding("operator lease", State.OK, f"held by {holder} {where}, renewed {age} ago")


def judge_deployment(deployment: Mapping[str, Any] | None) -> Finding:
    """Judge the operator's Deployment."""
    if deployment is None:
        return Finding(
            "operator", State.WARNING, "no Deployment mmrlhf-operator; it may run elsewhere"
        )
    metadata, status = deployment["metadata"], deployment.get("status") or {}
    wanted = (deployment.get("spec") or {}).get("replicas", 1)
    ready = status.get("readyReplicas") or 0
    template = (deployment.get("spec") or {}).get("template") or {}
    containers = (template.get("spec") or {}).get("containers") or [{}]
    text = (
        f"Deployment {metadata['namespace']}/{metadata['name']}: {ready} of {wanted} replicas "
        f"ready, image {containers[0].get('image', 'unknown')}"
    )
    if ready:
        return Finding("operator", State.OK, text)
    see = f"kubectl describe deployment {metadata['name']} -n {metadata['namespace']}"
    return Finding("operator", State.FAILED, text, see)


def gang_providers(groups: Sequence[str]) -> Finding:
    """Say which gang providers there are, by the API groups that the server has."""
    found = [name for group, name in _GANG_GROUPS.items() if group in groups]
    return Finding(
        "gang providers",
        State.INFO,
        f"{', '.join(found)}; jobs name a queue or provider in spec.scheduling"
        if found
        else "none: the operator creates all pods of a job or none, and the scheduler places them "
        "one by one",
        "" if found else "keep large jobs from blocking each other by quota, or by node pools",
    )


def gpu_nodes(nodes: Sequence[Mapping[str, Any]]) -> Finding:
    """Say which GPUs the nodes have."""
    ready = [node for node in nodes if _is_ready(node)]
    counts: dict[str, tuple[int, int]] = {}
    for node in ready:
        allocatable = (node.get("status") or {}).get("allocatable") or {}
        labels = node["metadata"].get("labels") or {}
        for resource, amount in allocatable.items():
            if resource.endswith("/gpu") and str(amount).isdecimal() and int(amount):
                product = labels.get("nvidia.com/gpu.product") or resource
                machines, gpus = counts.get(product, (0, 0))
                counts[product] = (machines + 1, gpus + int(amount))
    total = f"{len(ready)} of {len(nodes)} nodes ready"
    if not ready:
        return Finding("nodes", State.FAILED, total, "no pod can run")
    if not counts:
        return Finding("nodes", State.WARNING, f"{total}, none with GPUs", "jobs run on CPUs only")
    parts = [
        f"{gpus} x {product} on {machines} node{'s' if machines > 1 else ''}"
        for product, (machines, gpus) in sorted(counts.items())
    ]
    return Finding("nodes", State.OK, f"{total}; {', '.join(parts)}")


def node_pools(
    pools: Mapping[str, Mapping[str, Any]], nodes: Sequence[Mapping[str, Any]]
) -> list[Finding]:
    """Say for each node-pool profile how many nodes have the labels that it selects."""
    findings = []
    for name, pool in sorted(pools.items()):
        selector = (pool or {}).get("nodeSelector") or {}
        fit = [
            node
            for node in nodes
            if selector.items() <= (node["metadata"].get("labels") or {}).items()
        ]
        state = State.OK if fit else State.WARNING
        advice = "" if fit else "jobs with this spec.nodePool will wait"
        findings.append(Finding(f"node pool {name}", state, f"{len(fit)} nodes fit", advice))
    return findings


def _is_ready(node: Mapping[str, Any]) -> bool:
    conditions = (node.get("status") or {}).get("conditions") or ()
    return any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions)
