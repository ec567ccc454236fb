"""What a plan asks to be done, as data."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from mmrlhf_api import Job, JobStatus
from mmrlhf_operator.state.workloads import WorkloadView

__all__ = [
    "Action",
    "Check",
    "Create",
    "DeleteJob",
    "DeletePod",
    "DeleteService",
    "DeleteWorkload",
    "Disband",
    "Note",
    "PatchWorkload",
    "Plan",
    "RankWorkload",
]


@dataclass(frozen=True, kw_only=True)
class Create:
    """Create an object; one that exists and is ours is as good."""

    manifest: dict[str, Any]

    @property
    def kind(self) -> str:
        """Its kind."""
        kind: str = self.manifest["kind"]
        return kind

    @property
    def name(self) -> str:
        """Its name."""
        name: str = self.manifest["metadata"]["name"]
        return name


@dataclass(frozen=True, kw_only=True)
class DeletePod:
    """Delete a pod, unless another one bears its name by now.

    Attributes:
        name: Its name.
        uid: Its identity.
        force: Whether to forget it without waiting for its kubelet, which is gone.
    """

    name: str
    uid: str
    force: bool = False


@dataclass(frozen=True, kw_only=True)
class DeleteService:
    """Delete the Service of a job that has ended: it names no pods any more, and counts in quotas.

    Attributes:
        name: Its name.
        uid: Its identity.
    """

    name: str
    uid: str


@dataclass(frozen=True, kw_only=True)
class DeleteWorkload:
    """Take a job out of its queue.

    Attributes:
        name: Name of its Workload.
        uid: Its identity.
    """

    name: str
    uid: str


@dataclass(frozen=True, kw_only=True)
class Disband:
    """Delete the PodGroup of an attempt that is over, if there is one and it is the job's.

    Attributes:
        api: API version of the kind.
        name: Its name.
    """

    api: str
    name: str


@dataclass(frozen=True, kw_only=True)
class PatchWorkload:
    """Write to the status of a job's Workload, unless it has changed since it was read.

    Attributes:
        name: Its name.
        uid: Its identity.
        version: Version of it that was read.
        status: What to merge into its status.
    """

    name: str
    uid: str
    version: str
    status: dict[str, Any]

    @classmethod
    def of(cls, known: WorkloadView, status: dict[str, Any]) -> PatchWorkload:
        """Return the patch of a Workload as it was read."""
        return cls(name=known.name, uid=known.uid, version=known.version, status=status)


@dataclass(frozen=True, kw_only=True)
class RankWorkload:
    """Give a job's Workload a priority, unless it has changed since it was read.

    Attributes:
        name: Its name.
        uid: Its identity.
        version: Version of it that was read.
        spec: What to merge into its spec.
    """

    name: str
    uid: str
    version: str
    spec: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class DeleteJob:
    """Delete the job itself, whose time to live is over."""

    uid: str


@dataclass(frozen=True, kw_only=True)
class Check:
    """Look up what the spec names."""

    job: Job


Action = (
    Create
    | DeletePod
    | DeleteService
    | DeleteWorkload
    | Disband
    | PatchWorkload
    | RankWorkload
    | DeleteJob
    | Check
)


@dataclass(frozen=True, kw_only=True)
class Note:
    """A Kubernetes event about what the status says.

    Attributes:
        type: Normal or Warning.
        reason: One CamelCase word.
        message: For people.
        at: When what it tells came to be.
        key: What makes two notes the same one.
    """

    type: Literal["Normal", "Warning"]
    reason: str
    message: str
    at: datetime
    key: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to do about a job: write its status, then act, in this order.

    The status goes first as it records the decision while what it was made from still exists.

    Attributes:
        status: Status to write, if it differs from that of the job.
        actions: What to do.
        requeue_after: Seconds until time alone may change the plan; None when it cannot.
    """

    status: JobStatus
    actions: tuple[Action, ...] = ()
    requeue_after: float | None = None
