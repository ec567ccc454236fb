"""A pod as decisions see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from mmrlhf_api.constants import LABEL_ATTEMPT, LABEL_INDEX
from mmrlhf_operator.kube.timestamps import parse_time
from mmrlhf_operator.state.containers import Containers, End, Waiting, as_words
from mmrlhf_operator.state.metadata import owner_uid
from mmrlhf_operator.state.sightings import Sightings

__all__ = ["ANNOTATION_WORKLOAD", "Disruption", "PodView", "see"]

_MOST_FINALIZERS = 8
ANNOTATION_WORKLOAD = "kueue.x-k8s.io/workload"
"""Of a pod that runs by the quota of a Workload: its name."""


@dataclass(frozen=True, kw_only=True)
class Disruption:
    """The cluster took the pod away: the reason of its DisruptionTarget condition, and when."""

    reason: str
    message: str
    at: datetime | None


@dataclass(frozen=True, kw_only=True)
class PodView:
    """A pod.

    Attributes:
        name: Its name.
        uid: Its identity.
        owner: UID of the job that owns it.
        attempt: Attempt that it belongs to.
        index: Index in the attempt, which is the node rank.
        phase: Pending, Running, Succeeded, Failed or Unknown.
        reason: Reason of the pod's status, such as Evicted.
        message: Message of the pod's status.
        node: Node it is bound to.
        created_at: When it was created.
        bound_at: When it was bound.
        runs: Whether the job's container runs; None when the kubelet has not told of it.
        ready: Whether it is ready; containers besides it need not be.
        started_at: When the job's container started, by the clock of its node.
        unscheduled: Why it has no node: reason and message of the scheduler.
        waiting: Why the job's container does not run, or what keeps it from it.
        end: How it ended, or the init container that failed before it.
        disruption: That the cluster took it away.
        delete_at: When it should be gone, once it is being deleted.
        grace: Seconds it was given for that.
        finalizers: Who must let go of it first.
        workload: Name of the Workload of Kueue by whose quota it runs.
        seen: When the operator first saw what, by its own clock; times above are of others, and
            stand in where a pod is judged that nobody has watched.
    """

    name: str
    uid: str
    owner: str | None
    attempt: int
    index: int
    phase: str = "Pending"
    reason: str = ""
    message: str = ""
    node: str | None = None
    created_at: datetime
    bound_at: datetime | None = None
    runs: bool | None = None
    ready: bool = False
    started_at: datetime | None = None
    unscheduled: Waiting | None = None
    waiting: Waiting | None = None
    end: End | None = None
    disruption: Disruption | None = None
    delete_at: datetime | None = None
    grace: int = 0
    finalizers: tuple[str, ...] = ()
    workload: str | None = None
    seen: Sightings | None = field(default=None, compare=False)

    @property
    def running(self) -> bool:
        """Whether the job's container runs."""
        return self.phase == "Running" if self.runs is None else self.runs and not self.finished

    @property
    def succeeded(self) -> bool:
        """Whether the job's container ended well, whatever became of others beside it."""
        return self.phase == "Succeeded" if self.end is None else self.end.exit_code == 0

    @property
    def failed(self) -> bool:
        """Whether the job's container ended badly, or can never start."""
        if self.end is None:
            return self.phase == "Failed"
        return self.end.exit_code != 0

    @property
    def ended(self) -> bool:
        """Whether nothing of the job runs in it any more, though something else may."""
        return self.succeeded or self.failed

    @property
    def finished(self) -> bool:
        """Whether all of it has ended, so that it holds no resources."""
        return self.phase in {"Succeeded", "Failed"}

    @property
    def terminating(self) -> bool:
        """Whether it is being deleted."""
        return self.delete_at is not None

    @property
    def bound_since(self) -> datetime:
        """Since when it has a node; since when it is there, without one."""
        if self.seen is not None:
            return self.seen.bound or self.seen.pod
        return self.bound_at or self.created_at

    @property
    def begun_since(self) -> datetime | None:
        """Since when the job's container has begun."""
        return self.started_at if self.seen is None else self.seen.begun

    @property
    def ended_since(self) -> datetime | None:
        """Since when the job in it has ended."""
        if self.seen is not None:
            return self.seen.ended
        return None if self.end is None else self.end.at

    @property
    def disrupted_since(self) -> datetime | None:
        """Since when the cluster says that it takes it away."""
        if self.seen is not None:
            return self.seen.disrupted
        return None if self.disruption is None else self.disruption.at

    @property
    def deleted_since(self) -> datetime | None:
        """Since when it is being deleted."""
        if self.seen is not None:
            return self.seen.deleting
        return None if self.delete_at is None else self.delete_at - timedelta(seconds=self.grace)

    @property
    def ended_first(self) -> bool:
        """Whether the job in it had ended before anybody deleted it, as far as that was seen."""
        seen = self.seen
        return (
            seen is not None
            and seen.ended is not None
            and seen.deleting is not None
            and seen.ended < seen.deleting
        )

    @property
    def gone_by(self) -> datetime | None:
        """When it should be gone, once it is being deleted."""
        since = self.deleted_since
        return None if since is None else since + timedelta(seconds=self.grace)

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> PodView | None:
        """Read an object of the API server; None for one without our labels."""
        metadata, status = body["metadata"], body.get("status") or {}
        labels = metadata.get("labels") or {}
        try:
            attempt, index = int(labels[LABEL_ATTEMPT]), int(labels[LABEL_INDEX])
        except (KeyError, ValueError):
            return None
        created_at = parse_time(metadata["creationTimestamp"])
        assert created_at is not None  # the server sets it
        conditions = {entry["type"]: entry for entry in status.get("conditions") or ()}
        scheduled = conditions.get("PodScheduled", {})
        bound = scheduled.get("status") == "True"
        spec = body.get("spec") or {}
        containers = Containers.read(spec, status)
        return cls(
            name=metadata["name"],
            uid=metadata["uid"],
            owner=owner_uid(body),
            attempt=attempt,
            index=index,
            phase=status.get("phase", "Pending"),
            reason=status.get("reason", ""),
            message=as_words(status.get("message")),
            node=spec.get("nodeName"),
            created_at=created_at,
            bound_at=parse_time(scheduled.get("lastTransitionTime")) if bound else None,
            runs=containers.running if containers.known else None,
            ready=containers.ready or conditions.get("Ready", {}).get("status") == "True",
            started_at=containers.started_at,
            unscheduled=(
                Waiting(reason=scheduled.get("reason", ""), message=scheduled.get("message", ""))
                if scheduled.get("status") == "False"
                else None
            ),
            waiting=containers.waiting,
            end=containers.end,
            disruption=_disruption(conditions.get("DisruptionTarget")),
            delete_at=parse_time(metadata.get("deletionTimestamp")),
            grace=metadata.get("deletionGracePeriodSeconds") or 0,
            finalizers=tuple(metadata.get("finalizers") or ())[:_MOST_FINALIZERS],
            workload=(metadata.get("annotations") or {}).get(ANNOTATION_WORKLOAD),
        )


def _disruption(condition: Mapping[str, Any] | None) -> Disruption | None:
    if condition is None or condition.get("status") != "True":
        return None
    return Disruption(
        reason=condition.get("reason", ""),
        message=condition.get("message", ""),
        at=parse_time(condition.get("lastTransitionTime")),
    )


def see(pod: PodView, before: PodView | None, now: datetime) -> PodView:
    """Return a pod with what was seen of it when.

    Args:
        pod: As it is now.
        before: As it was when it was last seen; None at the first time.
        now: Time by the operator's clock, which never goes back.
    """
    same = before is not None and before.uid == pod.uid
    old = before.seen if before is not None and same else None

    def first(fact: bool, known: datetime | None) -> datetime | None:
        return (known or now) if fact else None

    seen = Sightings(
        pod=old.pod if old else now,
        bound=first(pod.node is not None, old.bound if old else None),
        begun=first(pod.started_at is not None, old.begun if old else None),
        ended=first(pod.ended, old.ended if old else None),
        disrupted=first(pod.disruption is not None, old.disrupted if old else None),
        deleting=first(pod.terminating, old.deleting if old else None),
    )
    return replace(pod, seen=seen)
