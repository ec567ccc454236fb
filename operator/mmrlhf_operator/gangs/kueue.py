"""Kueue, by one Workload a job.

Kueue describes it for workloads that it does not know (``docs/concepts/workload.md``, "Custom
Workloads"): who has pods to start creates a Workload with their template and count, waits until it
is admitted, starts them with what the assigned flavours ask for, and says when they are ready and
when all is over. The Workload outlives attempts, and keeps the place in the queue over restarts.
Types are those of ``apis/kueue/v1beta2/workload_types.go``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from mmrlhf_api import Job
from mmrlhf_api.constants import LABEL_INDEX
from mmrlhf_operator.kube.timestamps import format_time
from mmrlhf_operator.state.pods import ANNOTATION_WORKLOAD
from mmrlhf_operator.state.workloads import FlavorView, WorkloadView

__all__ = ["POD_SET", "place", "ranked", "says", "without_admission", "workload"]

Manifest = dict[str, Any]

POD_SET = "main"
"""Name of the only set of pods: the nodes of a job are all alike."""
API = "kueue.x-k8s.io/v1beta2"
_LABEL_JOB_UID = "kueue.x-k8s.io/job-uid"
_LABEL_POD_SET = "kueue.x-k8s.io/podset"
_TOPOLOGY_GATE = "kueue.x-k8s.io/topology"
_REQUIRED_TOPOLOGY = "kueue.x-k8s.io/podset-required-topology"
_PREFERRED_TOPOLOGY = "kueue.x-k8s.io/podset-preferred-topology"
_REQUEUED_AFTER = frozenset({"Preempted", "NodeFailures"})
"""Evictions after which the controller of the job says that it may queue again; after others Kueue
does, once what was in the way is not any more."""


def workload(job: Job, metadata: Manifest, pod: Manifest, *, priority: int | None) -> Manifest:
    """The Workload of a job.

    Args:
        job: The job.
        metadata: Name, labels and owner, as all objects of the job have them.
        pod: A pod of the job; its names are left out.
        priority: Value of the PriorityClass that the pod names; None where it is not known.
    """
    hidden = {"hostname", "subdomain"}
    template = {
        "metadata": {key: pod["metadata"].get(key, {}) for key in ("labels", "annotations")},
        "spec": {key: value for key, value in pod["spec"].items() if key not in hidden},
    }
    scheduling = job.spec.scheduling
    pod_set: Manifest = {
        "name": POD_SET,
        "count": job.spec.resources.nodes,
        "template": template,
    }
    topology = {
        "required": scheduling.topology_required,
        "preferred": scheduling.topology_preferred,
    }
    if wanted := {key: value for key, value in topology.items() if value is not None}:
        pod_set["topologyRequest"] = {**wanted, "podIndexLabel": LABEL_INDEX}
    spec: Manifest = {"queueName": scheduling.queue, "podSets": [pod_set]}
    priority_class = pod["spec"].get("priorityClassName")
    if priority_class is not None and priority is not None:
        spec |= ranked(priority_class, priority)
    assert job.metadata.uid is not None  # jobs come from the API server here
    labels = {**metadata["labels"], _LABEL_JOB_UID: job.metadata.uid}
    return {
        "apiVersion": API,
        "kind": "Workload",
        "metadata": {**metadata, "labels": labels},
        "spec": spec,
    }


def ranked(priority_class: str, priority: int) -> Manifest:
    """What the spec of a Workload says of its priority.

    Kueue lets it be added at any time: only another class in the place of one that is there is
    refused while quota is held (the rules of ``workload_types.go``).
    """
    reference = {
        "group": "scheduling.k8s.io",
        "kind": "PriorityClass",
        "name": priority_class,
    }
    return {"priorityClassRef": reference, "priority": priority}


def place(
    pod: Manifest, job: Job, admitted: WorkloadView, flavors: Mapping[str, FlavorView]
) -> Manifest:
    """Return a pod with what its admission asks for: where it may run, and whose it is.

    Args:
        pod: The pod.
        job: Its job.
        admitted: The Workload.
        flavors: Those that it was given, by name.
    """
    metadata, spec = pod["metadata"], pod["spec"]
    selectors: list[Mapping[str, str]] = [spec.get("nodeSelector", {})]
    tolerations: list[Mapping[str, Any]] = list(spec.get("tolerations", ()))
    for name in admitted.flavors:
        selectors.append(flavors[name].node_labels)
        tolerations += [dict(entry) for entry in flavors[name].tolerations]
    labels: dict[str, str] = {_LABEL_POD_SET: POD_SET}
    annotations: dict[str, str] = {ANNOTATION_WORKLOAD: admitted.name}
    for update in admitted.updates:
        selectors.append(update.get("nodeSelector") or {})
        tolerations += list(update.get("tolerations") or ())
        labels |= update.get("labels") or {}
        annotations |= update.get("annotations") or {}
    changed: Manifest = {
        **spec,
        "nodeSelector": {key: value for entry in selectors for key, value in entry.items()},
        "tolerations": _distinct(tolerations),
    }
    scheduling = job.spec.scheduling
    if scheduling.topology_required is not None or scheduling.topology_preferred is not None:
        changed.pop("affinity", None)  # Kueue places the pods, by capacities that it knows
        if "affinity" in spec and (near := spec["affinity"].get("nodeAffinity")):
            changed["affinity"] = {"nodeAffinity": near}
    if admitted.has_topology:
        changed["schedulingGates"] = [{"name": _TOPOLOGY_GATE}]
        if scheduling.topology_required is not None:
            annotations[_REQUIRED_TOPOLOGY] = scheduling.topology_required
        if scheduling.topology_preferred is not None:
            annotations[_PREFERRED_TOPOLOGY] = scheduling.topology_preferred
    return {
        **pod,
        "metadata": {
            **metadata,
            "labels": {**metadata.get("labels", {}), **labels},
            "annotations": {**metadata.get("annotations", {}), **annotations},
        },
        "spec": changed,
    }


def says(
    known: WorkloadView, kind: str, *, status: bool, reason: str, message: str, now: datetime
) -> Manifest:
    """Return the status of a Workload with one condition set, as a merge patch.

    A merge patch has lists whole; it goes on top of the version that was read.
    """
    return {"conditions": _with(known, [(kind, status, reason, message)], now=now)}


def without_admission(known: WorkloadView, *, now: datetime) -> Manifest:
    """Return the status of a Workload whose pods are gone, as a merge patch: its quota is free."""
    why = known.condition("Evicted")
    reason = "Pending" if why is None else why.reason
    message = "the job's pods are gone"
    changes = [
        ("QuotaReserved", False, "Pending", message),
        ("Admitted", False, "NoReservation", message),
    ]
    if reason in _REQUEUED_AFTER:
        changes.append(("Requeued", True, reason, message))
    return {"admission": None, "conditions": _with(known, changes, now=now)}


def _with(
    known: WorkloadView, changes: Sequence[tuple[str, bool, str, str]], *, now: datetime
) -> list[Manifest]:
    entries: list[Manifest] = json.loads(known.conditions)
    for kind, holds, reason, message in changes:
        status = "True" if holds else "False"
        old = next((entry for entry in entries if entry["type"] == kind), None)
        since = format_time(now)
        if old is not None and old["status"] == status:
            since = old.get("lastTransitionTime", since)
        entry = {
            "type": kind,
            "status": status,
            "reason": reason,
            "message": message,
            "lastTransitionTime": since,
        }
        entries = [entry if one is old else one for one in entries]
        if old is None:
            entries.append(entry)
    return entries


def _distinct(tolerations: Sequence[Mapping[str, Any]]) -> list[Manifest]:
    kept: list[Manifest] = []
    for entry in tolerations:
        if dict(entry) not in kept:
            kept.append(dict(entry))
    return kept
