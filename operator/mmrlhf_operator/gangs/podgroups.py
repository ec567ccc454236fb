"""Volcano and the coscheduling plugin, by one PodGroup an attempt.

Either scheduler places the pods of a group when all of them fit, and none before. The group's name
is that of the attempt, so that pods of two attempts never count as one gang. Sources: Volcano
``scheduling/v1beta1/types.go``; scheduler-plugins ``apis/scheduling/v1alpha1/types.go`` and
``pkg/coscheduling/README.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from mmrlhf_api import Job
from mmrlhf_api.quantities import parse_quantity
from mmrlhf_operator.gangs.providers import Provider

__all__ = ["join", "pod_group"]

Manifest = dict[str, Any]

_SCHEDULERS: Final[Mapping[str, str]] = {
    "volcano": "volcano",
    "coscheduling": "scheduler-plugins-scheduler",
}
"""Names under which the schedulers are installed; a node pool may name another one."""
_VOLCANO_GROUP = "scheduling.k8s.io/group-name"
_COSCHEDULING_GROUP = "scheduling.x-k8s.io/pod-group"


def pod_group(provider: Provider, job: Job, metadata: Manifest, pod: Manifest) -> Manifest:
    """The PodGroup of an attempt.

    Args:
        provider: Volcano or coscheduling.
        job: The job.
        metadata: Name, labels and owner, as all objects of the job have them.
        pod: A pod of the attempt.
    """
    nodes = job.spec.resources.nodes
    total = {
        name: _as_text(nodes * sum(amounts, start=Decimal(0)))
        for name, amounts in _requests(pod).items()
    }
    spec: Manifest = {"minMember": nodes, "minResources": total}
    if provider.name == "volcano":
        priority = pod["spec"].get("priorityClassName")
        wanted = {"queue": job.spec.scheduling.queue, "priorityClassName": priority}
        spec |= {key: value for key, value in wanted.items() if value is not None}
    return {"apiVersion": provider.api, "kind": "PodGroup", "metadata": metadata, "spec": spec}


def join(provider: Provider, pod: Manifest, *, group: str) -> Manifest:
    """Return a pod as a member of a PodGroup.

    Args:
        provider: Volcano or coscheduling.
        pod: The pod.
        group: Name of the PodGroup.
    """
    metadata = dict(pod["metadata"])
    if provider.name == "volcano":
        metadata["annotations"] = {**metadata.get("annotations", {}), _VOLCANO_GROUP: group}
    else:
        metadata["labels"] = {**metadata.get("labels", {}), _COSCHEDULING_GROUP: group}
    spec = {"schedulerName": _SCHEDULERS[provider.name], **pod["spec"]}
    return {**pod, "metadata": metadata, "spec": spec}


def _requests(pod: Manifest) -> dict[str, list[Decimal]]:
    found: dict[str, list[Decimal]] = {}
    for container in pod["spec"]["containers"]:
        for name, amount in container["resources"]["requests"].items():
            found.setdefault(name, []).append(parse_quantity(str(amount)))
    return found


def _as_text(amount: Decimal) -> str:
    whole = amount.to_integral_value()
    return str(int(whole)) if whole == amount else f"{int(amount * 1000)}m"
