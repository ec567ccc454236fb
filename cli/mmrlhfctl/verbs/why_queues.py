"""What ``why`` reads of queues and gangs: of Kueue, Volcano, coscheduling, as far as there are."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final
from urllib.parse import quote

from mmrlhf.client.cluster import Manifest
from mmrlhfctl.diagnosis.facts import Facts, Queueing
from mmrlhfctl.verbs.why_reading import Reading

__all__ = ["read_queueing"]

_KUEUE: Final = "kueue.x-k8s.io"
_VISIBILITY: Final = "visibility.kueue.x-k8s.io"
_VOLCANO: Final = "scheduling.volcano.sh"
_COSCHEDULING: Final = "scheduling.x-k8s.io"
_KUEUE_ROOT: Final = f"/apis/{_KUEUE}/v1beta2"
_GROUPS: Final = {
    _VOLCANO: f"/apis/{_VOLCANO}/v1beta1",
    _COSCHEDULING: f"/apis/{_COSCHEDULING}/v1alpha1",
}


def read_queueing(reading: Reading, facts: Facts) -> Queueing:
    """Read the place of a job among others."""
    scheduling: dict[str, Any] = facts.job.spec.get("scheduling") or {}
    queue, gang = scheduling.get("queue"), scheduling.get("gang") or "auto"
    if gang == "none" or (queue is None and gang == "auto"):
        return Queueing()
    served = _served(reading)
    if gang in {"auto", "kueue"} and _KUEUE in served:
        return _kueue(reading, facts, str(queue), served)
    if gang in {"auto", "volcano"} and _VOLCANO in served:
        return _gang(reading, facts, _VOLCANO, queue)
    if gang == "coscheduling" and _COSCHEDULING in served:
        return _gang(reading, facts, _COSCHEDULING, None)
    return Queueing()


def _served(reading: Reading) -> Collection[str]:
    """The API groups that answer."""
    answer = reading.attempt(
        "the API groups", lambda: reading.cluster.get("/apis"), right="get /apis"
    )
    return {str(group["name"]) for group in (answer or {}).get("groups") or ()}


class _Finder:
    """Reads objects of one API, and remembers which are not there."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.absent: set[str] = set()

    def find(self, kind: str, root: str, name: str, *, namespace: str | None) -> Manifest | None:
        """Return an object; None where it is not there, or could not be looked at."""
        plural = f"{kind.lower()}s"
        group = root.split("/")[2]
        space = "" if namespace is None else f"/namespaces/{quote(namespace, safe='')}"
        before = len(self.reading.unread)
        path = f"{root}{space}/{plural}/{quote(name, safe='')}"
        found = self.reading.attempt(
            f"{kind} {name}",
            lambda: self.reading.cluster.get(path),
            right=f"get {plural}.{group}" + ("" if namespace else " (cluster)"),
        )
        if found is None and len(self.reading.unread) == before:
            self.absent.add(kind)
        return found


def _kueue(reading: Reading, facts: Facts, queue: str, served: Collection[str]) -> Queueing:
    job, finder = facts.job, _Finder(reading)
    name = f"{job.kind.short_name}-{job.name}"
    workload = finder.find("Workload", _KUEUE_ROOT, name, namespace=job.namespace)
    local = finder.find("LocalQueue", _KUEUE_ROOT, queue, namespace=job.namespace)
    whole = None
    behind = ((local or {}).get("spec") or {}).get("clusterQueue")
    if behind:
        whole = finder.find("ClusterQueue", _KUEUE_ROOT, str(behind), namespace=None)
    others = reading.some(
        "Workloads of all namespaces, and so who else holds the quota",
        f"{_KUEUE_ROOT}/workloads",
        right=f"list workloads.{_KUEUE} (cluster)",
    )
    everywhere = others is not None
    if others is None:
        others = reading.some(
            "Workloads",
            f"{_KUEUE_ROOT}/namespaces/{quote(job.namespace, safe='')}/workloads",
            right=f"list workloads.{_KUEUE}",
        )
    pending: tuple[Manifest, ...] | None = None
    if _VISIBILITY in served and local is not None:
        space = f"namespaces/{quote(job.namespace, safe='')}"
        path = f"/apis/{_VISIBILITY}/v1beta2/{space}/localqueues/{quote(queue, safe='')}"
        answer = reading.attempt(
            "the place in the queue, from Kueue itself",
            lambda: reading.cluster.get(f"{path}/pendingworkloads"),
            right=f"get localqueues/pendingworkloads.{_VISIBILITY}",
        )
        pending = None if answer is None else tuple(answer.get("items") or ())
    return Queueing(
        workload=workload,
        local_queue=local,
        cluster_queue=whole,
        others=tuple(others or ()),
        everywhere=everywhere,
        pending=pending,
        absent=frozenset(finder.absent),
    )


def _gang(reading: Reading, facts: Facts, group: str, queue: str | None) -> Queueing:
    job, finder, root = facts.job, _Finder(reading), _GROUPS[group]
    name = f"{job.status.get('podStem') or job.name}-{job.attempt}"
    found = finder.find("PodGroup", root, name, namespace=job.namespace)
    behind, others = None, None
    if group == _VOLCANO and queue is not None:
        behind = finder.find("Queue", root, queue, namespace=None)
        others = reading.some(
            "PodGroups of all namespaces, and so who holds the queue",
            f"{root}/podgroups",
            right=f"list podgroups.{group} (cluster)",
        )
    return Queueing(
        group=found,
        group_queue=behind,
        others=tuple(others or ()),
        absent=frozenset(finder.absent),
    )
