"""What ``why`` reads of a cluster around a job, and no more than is needed.

Of a job that runs only its pods and events are read. Nodes and their pods are read for pods that
look for a node, quotas where something is refused, queues where the job names one, and a log of a
job that failed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final, TypeVar

from mmrlhf.client.cluster import Cluster, Manifest
from mmrlhf.client.paths import core_path, job_path, pod_selector
from mmrlhf.client.views import JobView, PodView
from mmrlhf_api.constants import MANAGER, ConditionType, Phase
from mmrlhf_api.kinds import KINDS
from mmrlhfctl.diagnosis.amounts import requests_of
from mmrlhfctl.diagnosis.ending_causes import first_failed
from mmrlhfctl.diagnosis.facts import Facts, Pod
from mmrlhfctl.diagnosis.nodes import Load, Node, node_ports
from mmrlhfctl.diagnosis.pod_causes import claim_names
from mmrlhfctl.diagnosis.refusal_causes import is_refused
from mmrlhfctl.text.events import concerns
from mmrlhfctl.verbs.why_queues import read_queueing
from mmrlhfctl.verbs.why_reading import Reading

__all__ = ["read_facts", "read_queue"]

_T = TypeVar("_T")
_LOG: Final = {"tailLines": "5", "limitBytes": "20000"}
_ALIVE: Final = "status.phase!=Succeeded,status.phase!=Failed"
_LEASES: Final = "/apis/coordination.k8s.io/v1"


def read_facts(cluster: Cluster, job: JobView) -> Facts:
    """Read what there is about a job."""
    reading = Reading(cluster)
    facts = Facts(job=job, now=datetime.now(UTC))
    if job.phase != Phase.SUCCEEDED:
        facts = replace(facts, pods=_pods(reading, job), events=_events(reading, job))
    facts = replace(facts, log=_log(reading, facts)) if job.ended else _of_waiting(reading, facts)
    now = cluster.server_time or facts.now
    return replace(facts, now=now, unread=tuple(reading.unread))


def read_queue(cluster: Cluster, job: JobView) -> Facts:
    """Read of a job only its place among others."""
    reading = Reading(cluster)
    facts = Facts(job=job, now=datetime.now(UTC))
    queueing = read_queueing(reading, facts)
    return replace(facts, queueing=queueing, unread=tuple(reading.unread))


def _of_waiting(reading: Reading, facts: Facts) -> Facts:
    job = facts.job
    if job.phase == Phase.RUNNING:
        return facts
    facts = replace(facts, leases=_leases(reading), dependency=_dependency(reading, job))
    if is_refused(facts):
        facts = _quotas(reading, facts)
    beginning = [pod for pod in facts.attempt if not pod.view.started and not pod.view.ended]
    if beginning:
        facts = replace(facts, claims=_claims(reading, facts), nodes=_nodes(reading))
    if facts.homeless and facts.nodes is not None:
        facts = replace(facts, loads=_loads(reading))
    if not facts.attempt or facts.homeless:
        facts = replace(facts, queueing=read_queueing(reading, facts))
    return facts


def _pods(reading: Reading, job: JobView) -> tuple[Pod, ...]:
    bodies = reading.some(
        "pods of the job",
        core_path("pods", job.namespace),
        right="list pods",
        labelSelector=pod_selector(job.kind, job.name),
    )
    views = ((PodView.read(body), body) for body in bodies or ())
    return tuple(
        Pod(view=view, body=body)
        for view, body in views
        if view is not None and view.owner in {"", job.uid}
    )


def _events(reading: Reading, job: JobView) -> tuple[Manifest, ...]:
    path = core_path("events", job.namespace)
    events = reading.some("events", path, most="events", right="list events")
    ours = {"PersistentVolumeClaim"}
    return tuple(
        event
        for event in events or ()
        if concerns(event, job) or (event.get("involvedObject") or {}).get("kind") in ours
    )


def _leases(reading: Reading) -> tuple[Manifest, ...] | None:
    path = f"{_LEASES}/leases"
    found = reading.some(
        "the operator's signs of life",
        path,
        right="list leases.coordination.k8s.io (cluster)",
        fieldSelector=f"metadata.name={MANAGER}",
    )
    return None if found is None else tuple(found)


def _dependency(reading: Reading, job: JobView) -> JobView | None:
    named = job.kind.named(job.spec)
    entry = job.conditions.get(ConditionType.DEPENDENCIES_READY, {})
    if named is None or entry.get("status") != "False":
        return None
    need, name = named
    path = job_path(KINDS[need.kind], job.namespace, name)
    body = reading.attempt(
        f"{need.kind} {name}", lambda: reading.cluster.get(path), right=f"get {need.kind}"
    )
    return None if body is None else JobView.read(body)


def _quotas(reading: Reading, facts: Facts) -> Facts:
    space = facts.job.namespace
    quotas = reading.some(
        "ResourceQuotas", core_path("resourcequotas", space), right="list resourcequotas"
    )
    limits = reading.some("LimitRanges", core_path("limitranges", space), right="list limitranges")
    holders = reading.attempt(
        "pods of the namespace",
        lambda: _held(reading, "pods of the namespace", core_path("pods", space), _ALIVE),
        right="list pods",
    )
    return replace(
        facts,
        quotas=tuple(quotas or ()),
        limits=tuple(limits or ()),
        neighbours=tuple(holders or ()),
    )


def _claims(reading: Reading, facts: Facts) -> Mapping[str, Manifest | None]:
    names = sorted({name for pod in facts.attempt for name in claim_names(pod)})
    if not names:
        return {}
    path = core_path("persistentvolumeclaims", facts.job.namespace)
    found = reading.some("PersistentVolumeClaims", path, right="list persistentvolumeclaims")
    if found is None:
        return {}
    known = {str(body["metadata"]["name"]): body for body in found}
    return {name: known.get(name) for name in names}


def _nodes(reading: Reading) -> tuple[Node, ...] | None:
    def read() -> tuple[Node, ...]:
        pages = reading.pages("nodes", "/api/v1/nodes", most="nodes")
        return tuple(Node.read(body) for page in pages for body in page)

    return _whole(reading, reading.attempt("nodes", read, right="list nodes (cluster)"))


def _loads(reading: Reading) -> tuple[Load, ...] | None:
    what = "pods of all namespaces, and so how much of each node is free"
    bound = f"spec.nodeName!=,{_ALIVE}"
    return _whole(
        reading,
        reading.attempt(
            what,
            lambda: _held(reading, "pods of all namespaces", core_path("pods", None), bound),
            right="list pods (cluster)",
        ),
    )


def _whole(reading: Reading, found: _T | None) -> _T | None:
    """What was read, if it is all: of a part of the nodes or pods nothing can be simulated."""
    cut = any(
        one.what in {"further nodes", "further pods of all namespaces"} for one in reading.unread
    )
    return None if cut else found


def _held(reading: Reading, what: str, path: str, fields: str) -> tuple[Load, ...]:
    pages = reading.pages(what, path, most="pods", query={"fieldSelector": fields})
    return tuple(_load(body) for page in pages for body in page)


def _load(body: Manifest) -> Load:
    metadata, spec = body["metadata"], body.get("spec") or {}
    owners = metadata.get("ownerReferences") or ()
    owner = next((str(one["name"]) for one in owners if one.get("controller")), metadata["name"])
    return Load(
        node=str(spec.get("nodeName") or ""),
        holder=f"{metadata.get('namespace')}/{owner}",
        requests=requests_of(spec),
        ports=node_ports(spec),
    )


def _log(reading: Reading, facts: Facts) -> tuple[str, tuple[str, ...]]:
    pod = first_failed(facts) if facts.job.failed else None
    if pod is None:
        return "", ()
    path = f"{core_path('pods', facts.job.namespace, pod.view.name)}/log"
    query = {**_LOG, "container": pod.view.container}

    def read() -> tuple[str, ...]:
        lines = reading.cluster.lines(path, query=query)
        return tuple(line.decode(errors="replace").rstrip("\r\n") for line in lines)

    lines = reading.attempt(f"the log of {pod.view.name}", read, right="get pods/log")
    return pod.view.name, lines or ()
