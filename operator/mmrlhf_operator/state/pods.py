"""A pod as decisions see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from mmrlhf_api.constants import CONTAINER, LABEL_ATTEMPT, LABEL_INDEX
from mmrlhf_api.plain_text import make_safe
from mmrlhf_api.termination import TerminationMessage
from mmrlhf_operator.kube.timestamps import parse_time

__all__ = ["Disruption", "End", "PodView", "Waiting"]


@dataclass(frozen=True, kw_only=True)
class End:
    """How a container ended.

    Attributes:
        container: Name of the container.
        exit_code: Exit code; above 128 it stands for a signal.
        reason: Word of the kubelet, such as OOMKilled.
        message: Termination message.
        at: When it ended.
    """

    container: str
    exit_code: int
    reason: str
    message: str
    at: datetime | None

    @property
    def said(self) -> TerminationMessage | None:
        """The termination message, where the job wrote one."""
        return TerminationMessage.read(self.message)


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """Why a container does not run yet: reason and message of the kubelet."""

    reason: str
    message: str


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
        ready: Whether its Ready condition holds.
        started_at: When the job's container started.
        unscheduled: Why it has no node: reason and message of the scheduler.
        waiting: Why a container does not run.
        end: How the container that ended it did.
        disruption: That the cluster took it away.
        delete_at: When it should be gone, once it is being deleted.
        grace: Seconds it was given for that.
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
    ready: bool = False
    started_at: datetime | None = None
    unscheduled: Waiting | None = None
    waiting: Waiting | None = None
    end: End | None = None
    disruption: Disruption | None = None
    delete_at: datetime | None = None
    grace: int = 0

    @property
    def running(self) -> bool:
        """Whether the job's container runs."""
        return self.phase == "Running"

    @property
    def finished(self) -> bool:
        """Whether it has ended and holds no resources."""
        return self.phase in {"Succeeded", "Failed"}

    @property
    def terminating(self) -> bool:
        """Whether it is being deleted."""
        return self.delete_at is not None

    @property
    def deleted_at(self) -> datetime | None:
        """When its deletion was asked for."""
        return None if self.delete_at is None else self.delete_at - timedelta(seconds=self.grace)

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
        containers = [
            *(status.get("initContainerStatuses") or ()),
            *(status.get("containerStatuses") or ()),
        ]
        main: Mapping[str, Any] = next((c for c in containers if c["name"] == CONTAINER), {})
        state = main.get("state") or {}
        begun = state.get("running") or state.get("terminated") or {}
        return cls(
            name=metadata["name"],
            uid=metadata["uid"],
            owner=_owner(metadata),
            attempt=attempt,
            index=index,
            phase=status.get("phase", "Pending"),
            reason=status.get("reason", ""),
            message=_words(status.get("message")),
            node=(body.get("spec") or {}).get("nodeName"),
            created_at=created_at,
            bound_at=parse_time(scheduled.get("lastTransitionTime")) if bound else None,
            ready=conditions.get("Ready", {}).get("status") == "True",
            started_at=parse_time(begun.get("startedAt")),
            unscheduled=(
                Waiting(reason=scheduled.get("reason", ""), message=scheduled.get("message", ""))
                if scheduled.get("status") == "False"
                else None
            ),
            waiting=_waiting(containers),
            end=_end(containers),
            disruption=_disruption(conditions.get("DisruptionTarget")),
            delete_at=parse_time(metadata.get("deletionTimestamp")),
            grace=metadata.get("deletionGracePeriodSeconds") or 0,
        )


def _words(message: str | None) -> str:
    """A message, which may be the tail of a tenant's log, as it goes into status and log."""
    return make_safe(message or "", lines=True)


def _owner(metadata: Mapping[str, Any]) -> str | None:
    owners = metadata.get("ownerReferences") or ()
    return next((owner["uid"] for owner in owners if owner.get("controller")), None)


def _waiting(containers: list[Mapping[str, Any]]) -> Waiting | None:
    for container in containers:
        state = (container.get("state") or {}).get("waiting")
        # The job's own container waits for the init container; that says nothing.
        if state and state.get("reason") not in {None, "PodInitializing"}:
            return Waiting(reason=state["reason"], message=_words(state.get("message")))
    return None


def _end(containers: list[Mapping[str, Any]]) -> End | None:
    """The first container that failed, or else the job's own."""
    ends = [
        End(
            container=container["name"],
            exit_code=state.get("exitCode", 0),
            reason=state.get("reason", ""),
            message=_words(state.get("message")),
            at=parse_time(state.get("finishedAt")),
        )
        for container in containers
        if (state := (container.get("state") or {}).get("terminated")) is not None
    ]
    failed = [end for end in ends if end.exit_code != 0]
    if failed:
        return failed[0]
    return next((end for end in ends if end.container == CONTAINER), None)


def _disruption(condition: Mapping[str, Any] | None) -> Disruption | None:
    if condition is None or condition.get("status") != "True":
        return None
    return Disruption(
        reason=condition.get("reason", ""),
        message=condition.get("message", ""),
        at=parse_time(condition.get("lastTransitionTime")),
    )
