"""What was read of a cluster about one job: frozen, so that what is said of it is a function."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from mmrlhf.client.times import parse_time
from mmrlhf.client.views import JobView, PodView
from mmrlhfctl.diagnosis.answers import Evidence, Unread, last_seen
from mmrlhfctl.diagnosis.nodes import Load, Node

__all__ = [
    "Facts",
    "Manifest",
    "Pod",
    "Queueing",
    "condition",
    "how_it_ended",
    "says",
    "terminated",
    "words",
]

Manifest = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Pod:
    """A pod of the job: the view that other commands have of it, and the object itself."""

    view: PodView
    body: Manifest

    @property
    def thing(self) -> str:
        """How evidence names it."""
        return f"pod/{self.view.name}"

    @property
    def spec(self) -> Manifest:
        """Its spec."""
        return self.body.get("spec") or {}

    @property
    def status(self) -> Manifest:
        """Its status."""
        return self.body.get("status") or {}

    @property
    def gates(self) -> tuple[str, ...]:
        """Scheduling gates that nobody has lifted yet."""
        return tuple(str(gate.get("name")) for gate in self.spec.get("schedulingGates") or ())


@dataclass(frozen=True, kw_only=True)
class Queueing:
    """The place of a job among others.

    Attributes:
        workload: Its Workload of Kueue.
        local_queue: Its LocalQueue.
        cluster_queue: The ClusterQueue behind that.
        others: Workloads, or PodGroups, that were read, its own included.
        everywhere: Whether those are of all namespaces.
        pending: What Kueue's visibility API says of the LocalQueue; None where it does not answer.
        group: The PodGroup of the current attempt.
        group_queue: Volcano's queue.
        absent: Which of these the server was asked for and does not have.
    """

    workload: Manifest | None = None
    local_queue: Manifest | None = None
    cluster_queue: Manifest | None = None
    others: tuple[Manifest, ...] = ()
    everywhere: bool = False
    pending: tuple[Manifest, ...] | None = None
    group: Manifest | None = None
    group_queue: Manifest | None = None
    absent: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Everything that `explain` goes by.

    Attributes:
        job: The job.
        now: The time of the server.
        pods: Its pods, of all attempts.
        events: Events of its namespace that are about it, its pods, claims or Workload.
        nodes: All nodes; None where they were not read.
        loads: All pods that are bound to nodes; None where they were not read.
        neighbours: What pods of its namespace hold, those without a node included.
        quotas: ResourceQuotas of its namespace.
        limits: LimitRanges of its namespace.
        claims: PersistentVolumeClaims that its pods name; None for one that is not there.
        queueing: Its place among others.
        dependency: The job that it waits for; None where there is none, or it waits for no other.
        leases: What operators leave as signs of life; None where they were not read.
        log: Last lines of the log of the pod that failed first, by its name.
        unread: What could not be looked at.
    """

    job: JobView
    now: datetime
    pods: tuple[Pod, ...] = ()
    events: tuple[Manifest, ...] = ()
    nodes: tuple[Node, ...] | None = None
    loads: tuple[Load, ...] | None = None
    neighbours: tuple[Load, ...] = ()
    quotas: tuple[Manifest, ...] = ()
    limits: tuple[Manifest, ...] = ()
    claims: Mapping[str, Manifest | None] = field(default_factory=dict)
    queueing: Queueing = field(default_factory=Queueing)
    dependency: JobView | None = None
    leases: tuple[Manifest, ...] | None = None
    log: tuple[str, tuple[str, ...]] = ("", ())
    unread: tuple[Unread, ...] = ()

    @property
    def attempt(self) -> tuple[Pod, ...]:
        """The pods of the current attempt, by rank."""
        mine = (pod for pod in self.pods if pod.view.attempt == self.job.attempt)
        return tuple(sorted(mine, key=lambda pod: pod.view.rank))

    @property
    def homeless(self) -> tuple[Pod, ...]:
        """Those of them that look for a node."""
        return tuple(
            pod
            for pod in self.attempt
            if not pod.view.node and not pod.view.ended and not pod.gates
        )

    @cached_property
    def _by_object(self) -> Mapping[tuple[str, str], tuple[Manifest, ...]]:
        found: dict[tuple[str, str], tuple[Manifest, ...]] = {}
        for event in self.events:
            involved = event.get("involvedObject") or {}
            key = (str(involved.get("kind")), str(involved.get("name")))
            found[key] = (*found.get(key, ()), event)
        return found

    def events_of(self, kind: str, name: str, *reasons: str) -> tuple[Manifest, ...]:
        """Return the events of an object, those of some reasons, the latest first."""
        found = [
            event
            for event in self._by_object.get((kind, name), ())
            if not reasons or event.get("reason") in reasons
        ]
        return tuple(sorted(found, key=lambda event: str(last_seen(event)), reverse=True))

    def latest(self, pod: Pod, *reasons: str) -> tuple[Evidence, ...]:
        """Return the latest event of a pod with one of some reasons, as evidence; or nothing."""
        uid = pod.view.uid
        for event in self.events_of("Pod", pod.view.name, *reasons):
            about = (event.get("involvedObject") or {}).get("uid")
            if not about or not uid or about == uid:
                return (Evidence.of_event(event),)
        return ()

    def told(self, kind: str) -> Evidence:
        """Return a condition of the job as evidence."""
        entry = self.job.conditions.get(kind, {})
        why = f"{kind}={entry.get('status', 'Unknown')} ({entry.get('reason', '')})"
        return Evidence(thing=self.job.argument, text=f"{why}: {words(entry.get('message'))}")


def condition(body: Manifest | None, kind: str) -> Manifest:
    """Return a condition of an object; empty where nobody has set it."""
    status = (body or {}).get("status") or {}
    for entry in status.get("conditions") or ():
        if isinstance(entry, Mapping) and entry.get("type") == kind:
            return entry
    return {}


def says(thing: str, entry: Manifest) -> Evidence:
    """Return a condition of an object as evidence."""
    why = f"{entry.get('type')}={entry.get('status')} ({entry.get('reason')})"
    return Evidence(
        thing=thing,
        text=f"{why}: {words(entry.get('message'))}",
        seen=parse_time(entry.get("lastTransitionTime")),
    )


def words(text: object) -> str:
    """Return what someone said, in one line."""
    return " ".join(str(text or "").split())


def terminated(pod: Pod) -> Manifest:
    """Return how the job's container of a pod ended; empty where it has not."""
    for entry in pod.status.get("containerStatuses") or ():
        if entry.get("name") == pod.view.container:
            found: Any = (entry.get("state") or {}).get("terminated")
            return found or {}
    return {}


def how_it_ended(pod: Pod) -> Iterator[Evidence]:
    """Yield how a pod ended: its container, and what the cluster says of the pod."""
    ended = terminated(pod)
    where = f" on node {pod.view.node}" if pod.view.node else ""
    if ended:
        code = ended.get("exitCode")
        said = words(ended.get("message"))
        yield Evidence(
            thing=pod.thing,
            text=f"container {pod.view.container} ended with exit code {code}"
            f" ({ended.get('reason') or 'no reason'}){where}" + (f": {said}" if said else ""),
            seen=parse_time(ended.get("finishedAt")),
        )
    reason = pod.status.get("reason")
    if reason:
        yield Evidence(thing=pod.thing, text=f"{reason}{where}: {words(pod.status.get('message'))}")
