"""What the containers of a pod say of the job: its own, and those that must go before it.

Policies of a cluster put containers into pods that are not of the job: service meshes, log
shippers, collectors of metrics. Such a side container, native or not (a native one is an init
container with ``restartPolicy: Always``), may run for ever, end or crash; that says nothing of the
job. What counts is the container that runs it and, until that has started, the init containers
that keep it from starting.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mmrlhf_api.constants import CONTAINER
from mmrlhf_api.plain_text import make_safe
from mmrlhf_api.termination import TerminationMessage
from mmrlhf_operator.kube.timestamps import parse_time

__all__ = ["Containers", "End", "Waiting", "as_words"]

_UNTOLD = frozenset({None, "PodInitializing"})
"""Reasons to wait that say nothing: the job's container waits for init containers."""
_NOT_ALL_READY = "ContainersNotReady"


@dataclass(frozen=True, kw_only=True)
class End:
    """How a container ended.

    Attributes:
        container: Name of the container.
        exit_code: Exit code; above 128 it stands for a signal.
        reason: Word of the kubelet, such as OOMKilled.
        message: Termination message.
        at: When it ended, by the clock of its node.
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
    """Why something does not run yet.

    Attributes:
        reason: One word of the scheduler or the kubelet.
        message: For people.
        container: Name of the container that waits; empty where the pod does.
    """

    reason: str
    message: str
    container: str = ""


@dataclass(frozen=True, kw_only=True)
class Containers:
    """The containers of a pod that decide.

    Attributes:
        known: Whether the kubelet has told of the job's container.
        running: Whether it runs.
        ready: Whether it is ready, though others may not be.
        started_at: When it started, by the clock of its node.
        waiting: Why it does not run, or what keeps it from running.
        end: How it ended, or the init container that failed before it.
    """

    known: bool
    running: bool
    ready: bool
    started_at: datetime | None
    waiting: Waiting | None
    end: End | None

    @classmethod
    def read(cls, spec: Mapping[str, Any], status: Mapping[str, Any]) -> Containers:
        """Read spec and status of a pod."""
        told: Sequence[Mapping[str, Any]] = status.get("containerStatuses") or ()
        main: Mapping[str, Any] = next((c for c in told if c["name"] == CONTAINER), {})
        state = main.get("state") or {}
        begun = state.get("running") or state.get("terminated") or {}
        before = () if begun else tuple(status.get("initContainerStatuses") or ())
        sides = _native_sides(spec)
        return cls(
            known=bool(main),
            running=state.get("running") is not None,
            ready=main.get("ready") is True and _keeps_ready(status),
            started_at=parse_time(begun.get("startedAt")),
            waiting=_waiting((*before, main)),
            end=_end((main, *(c for c in before if c["name"] not in sides))),
        )


def as_words(message: str | None) -> str:
    """A message, which may be the tail of a tenant's log, as it goes into status and log."""
    return make_safe(message or "", lines=True)


def _native_sides(spec: Mapping[str, Any]) -> frozenset[str]:
    """Init containers that never end: the kubelet starts them anew, whatever they end with."""
    return frozenset(
        container["name"]
        for container in spec.get("initContainers") or ()
        if container.get("restartPolicy") == "Always"
    )


def _keeps_ready(status: Mapping[str, Any]) -> bool:
    """Whether the pod is not ready for another container alone; a lost node has another reason."""
    ready = next((c for c in status.get("conditions") or () if c["type"] == "Ready"), None)
    return ready is None or ready["status"] == "True" or ready.get("reason") == _NOT_ALL_READY


def _waiting(containers: Sequence[Mapping[str, Any]]) -> Waiting | None:
    for container in containers:
        state = (container.get("state") or {}).get("waiting")
        if state and state.get("reason") not in _UNTOLD:
            return Waiting(
                reason=state["reason"],
                message=as_words(state.get("message")),
                container=container["name"],
            )
    return None


def _end(containers: Sequence[Mapping[str, Any]]) -> End | None:
    """How the job's container ended, or the first of those before it that failed."""
    ends = [
        End(
            container=container["name"],
            exit_code=state.get("exitCode", 0),
            reason=state.get("reason", ""),
            message=as_words(state.get("message")),
            at=parse_time(state.get("finishedAt")),
        )
        for container in containers
        if (state := (container.get("state") or {}).get("terminated")) is not None
    ]
    return next((end for end in ends if end.container == CONTAINER or end.exit_code != 0), None)
