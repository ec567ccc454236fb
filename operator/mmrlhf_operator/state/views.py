"""What the operator knows about a job when it decides: frozen views, cut to what decisions need.

The views are made from plain dicts of the API server. They are small, as thousands of them are
kept, and compare by value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Self

from pydantic import ValidationError

from mmrlhf_api import Job, JobFileError, JobStatus, Kind, Need, parse_job
from mmrlhf_api.constants import Phase
from mmrlhf_api.runs import RunLayout
from mmrlhf_api.sizes import size_problem
from mmrlhf_operator.errors import OperatorError
from mmrlhf_operator.kube.timestamps import parse_time
from mmrlhf_operator.state.bodies import TOO_LARGE, pack_text, unpack_text, without_notes
from mmrlhf_operator.state.metadata import owner_uid, without_misfits
from mmrlhf_operator.state.pods import PodView
from mmrlhf_operator.state.workloads import FlavorView, WorkloadView

__all__ = [
    "ANNOTATION_DIGEST",
    "JOB_FILE",
    "TERMINAL",
    "CheckResult",
    "ConfigMapView",
    "DependencyView",
    "Finding",
    "JobView",
    "NetworkPolicyView",
    "Observed",
    "ProgressReport",
    "ServiceView",
    "StatusUnreadableError",
]

TERMINAL = frozenset({Phase.SUCCEEDED, Phase.FAILED})
"""Phases that are never left."""
ANNOTATION_DIGEST = "mmrlhf.io/spec-digest"
"""Annotation of a job's ConfigMap: digest of the spec that was accepted."""
JOB_FILE = "job.json"
"""Key of a job's ConfigMap: the job as it was accepted."""


class StatusUnreadableError(OperatorError):
    """A job's status is not one that an operator wrote; nothing is done to it."""


@dataclass(frozen=True, kw_only=True)
class JobView:
    """A job as the API server has it.

    Attributes:
        kind: Its kind.
        namespace: Its namespace.
        name: Its name.
        uid: Its identity.
        generation: Version of the spec.
        resource_version: Version of the object, for optimistic locking.
        deleting: Whether it is being deleted.
        created_at: When it was created.
        job: The job, None when it is not valid for one that starts now.
        accepted: The job, None when it is not valid for one that was accepted before either, maybe
            by an older operator.
        problem: Why it is not valid.
        suspend: What ``runPolicy.suspend`` says, valid or not.
        cancel: What ``runPolicy.cancel`` says, valid or not.
        status: Its status; a phase that only newer operators know is none.
        ended: Whether it has ended, in whatever phase.
    """

    kind: Kind
    namespace: str
    name: str
    uid: str
    generation: int
    resource_version: str
    deleting: bool
    created_at: datetime
    job: Job | None
    accepted: Job | None
    problem: str | None
    suspend: bool
    cancel: bool
    status: JobStatus
    ended: bool

    @classmethod
    def read(cls, kind: Kind, body: Mapping[str, Any], *, before: JobView | None = None) -> JobView:
        """Read an object of the API server.

        Args:
            kind: Its kind.
            body: The object.
            before: An earlier version of it from which only its status differs: what was found of
                the rest then is not found out again.

        Raises:
            StatusUnreadableError: The status has fields of wrong types.
        """
        metadata = body["metadata"]
        created_at = parse_time(metadata["creationTimestamp"])
        assert created_at is not None  # the server sets it
        raw_status = dict(body.get("status") or {})
        if isinstance(phase := raw_status.get("phase"), str) and phase not in set(Phase):
            del raw_status["phase"]  # of a newer operator; what is to be done follows from the rest
        try:
            status = JobStatus.model_validate(raw_status, by_alias=True, by_name=False)
        except ValidationError as error:
            raise StatusUnreadableError(
                f"{kind.name} {metadata['namespace']}/{metadata['name']}: its status cannot be"
                f" read: {error}; remove the field in question"
            ) from error
        if before is None:
            job, problem = _parse(body, kind)
            accepted = job or _parse(body, kind, accepted=True)[0]
        else:
            job, problem, accepted = before.job, before.problem, before.accepted
        policy = (body.get("spec") or {}).get("runPolicy") or {}
        return cls(
            kind=kind,
            namespace=metadata["namespace"],
            name=metadata["name"],
            uid=metadata["uid"],
            generation=metadata.get("generation", 1),
            resource_version=metadata["resourceVersion"],
            deleting="deletionTimestamp" in metadata,
            created_at=created_at,
            job=job,
            accepted=accepted,
            problem=problem,
            suspend=policy.get("suspend") is True,
            cancel=policy.get("cancel") is True,
            status=status,
            ended=status.phase in TERMINAL
            or (status.phase is None and status.completion_time is not None),
        )


def _parse(
    body: Mapping[str, Any], kind: Kind, *, accepted: bool = False
) -> tuple[Job | None, str | None]:
    if TOO_LARGE in body:
        return None, f"spec: {size_problem(body[TOO_LARGE])}"
    metadata = without_misfits(without_notes(body)["metadata"])
    document = {"apiVersion": body.get("apiVersion"), "kind": kind.name, "metadata": metadata}
    document["spec"] = body.get("spec", {})
    try:
        job = parse_job(document, source=kind.name, in_cluster=True, accepted=accepted)
    except JobFileError as error:
        return None, "; ".join(map(str, error.problems))
    return job, None


@dataclass(frozen=True, kw_only=True)
class ServiceView:
    """The headless Service of a job."""

    name: str
    uid: str
    owner: str | None

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> Self:
        """Read an object of the API server."""
        metadata = body["metadata"]
        return cls(name=metadata["name"], uid=metadata["uid"], owner=owner_uid(body))


@dataclass(frozen=True, kw_only=True)
class NetworkPolicyView(ServiceView):
    """The NetworkPolicy of a job."""


@dataclass(frozen=True, kw_only=True)
class ConfigMapView:
    """The ConfigMap of a job: what was accepted, compressed."""

    name: str
    uid: str
    owner: str | None
    digest: str
    packed: bytes

    @property
    def job_json(self) -> str:
        """The job as it was accepted."""
        return unpack_text(self.packed)

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> ConfigMapView:
        """Read an object of the API server."""
        metadata = body["metadata"]
        return cls(
            name=metadata["name"],
            uid=metadata["uid"],
            owner=owner_uid(body),
            digest=(metadata.get("annotations") or {}).get(ANNOTATION_DIGEST, ""),
            packed=pack_text((body.get("data") or {}).get(JOB_FILE, "")),
        )


@dataclass(frozen=True, kw_only=True)
class DependencyView:
    """A job that another one names.

    Attributes:
        name: Its name.
        uid: Its identity.
        phase: Its phase; None before the first.
        reason: Why it is in that phase.
        artifacts: Where its artifacts are, once it has ended.
        outputs: What it has left for others, as URIs by name.
    """

    name: str
    uid: str
    phase: str | None
    reason: str | None
    artifacts: str | None
    outputs: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> DependencyView:
        """Read an object of the API server."""
        metadata, status = body["metadata"], body.get("status") or {}
        return cls(
            name=metadata["name"],
            uid=metadata["uid"],
            phase=status.get("phase"),
            reason=status.get("reason"),
            artifacts=(status.get("artifacts") or {}).get("uri"),
            outputs={one["name"]: one["uri"] for one in status.get("outputs") or ()},
        )

    def output(self, need: Need) -> str | None:
        """URI of what it has left for another; None unless it has succeeded."""
        if self.phase != Phase.SUCCEEDED or self.artifacts is None:
            return None
        if self.outputs:
            return self.outputs.get(need.takes)
        return need.output(RunLayout(self.artifacts.rstrip("/")))


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is in the way of a job, as reason and message."""

    reason: str
    message: str


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """What the checks before a start found; none in flight is None.

    Attributes:
        digest: Digest of the spec that was checked.
        finding: What is in the way, None when nothing is.
        retry_at: When to look again.
    """

    digest: str
    finding: Finding | None
    retry_at: datetime


@dataclass(frozen=True, kw_only=True)
class ProgressReport:
    """Latest progress that rank 0 pushed.

    Attributes:
        attempt: Attempt that it is about.
        at: When it arrived.
        advanced_at: When a step last finished or a new phase began.
        step: Latest finished step; None before the first.
        stage: Stage that the job is in, if it has told.
        figures: Wire fields of ``status.progress`` at that step.
        metrics: Final metrics, once the job is done.
    """

    attempt: int
    at: datetime
    advanced_at: datetime
    step: int | None = None
    stage: str | None = None
    figures: Mapping[str, float | int | None] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Observed:
    """Everything besides the job itself.

    Attributes:
        pods: Pods that the job owns, of any attempt.
        service: Its Service.
        config_map: Its ConfigMap.
        network_policy: Its NetworkPolicy.
        dependency: The job that it names, None when there is none of that name.
        offered: Names of the queue and gang providers that the cluster has.
        workload: Its Workload, where it waits in a queue of Kueue.
        flavors: Flavours that were assigned to it, by name, as far as they were looked up.
        flavor_problem: Why one could not be looked up.
        priority: Value of the PriorityClass of its pods, where it was looked up.
        priority_problem: Why it could not be looked up.
        namesake: Whether a job of another kind has its name.
        check: What the checks before a start found, None when none was made.
        conflicts: What is in the way by name or by refusal, found when something was created.
        blocked: Which request for the job fails again and again, and the server's words.
        retry_at: When what the API server refused is to be tried again; None when at once.
        progress: Latest progress that arrived.
        listening_since: Since when progress can arrive; None when it cannot.
        lost_nodes: Nodes that are gone or unreachable, as far as they were looked up.
        known_nodes: Nodes that were looked up.
        warnings: Latest warning event of pods that wait, by name of the pod.
        made: Identities of the pods that this operator made, by name.
        perhaps_made: Names of pods that it or the one before it may have made without being told.
    """

    pods: tuple[PodView, ...] = ()
    service: ServiceView | None = None
    config_map: ConfigMapView | None = None
    network_policy: NetworkPolicyView | None = None
    dependency: DependencyView | None = None
    offered: frozenset[str] = frozenset()
    workload: WorkloadView | None = None
    flavors: Mapping[str, FlavorView] = field(default_factory=dict)
    flavor_problem: str | None = None
    priority: int | None = None
    priority_problem: str | None = None
    namesake: bool = False
    check: CheckResult | None = None
    conflicts: tuple[Finding, ...] = ()
    blocked: Finding | None = None
    retry_at: datetime | None = None
    progress: ProgressReport | None = None
    listening_since: datetime | None = None
    lost_nodes: frozenset[str] = frozenset()
    known_nodes: frozenset[str] = frozenset()
    warnings: Mapping[str, Finding] = field(default_factory=dict)
    made: Mapping[str, str] = field(default_factory=dict)
    perhaps_made: frozenset[str] = frozenset()

    def pods_of(self, attempt: int) -> tuple[PodView, ...]:
        """Pods of one attempt, by index."""
        found = (pod for pod in self.pods if pod.attempt == attempt)
        return tuple(sorted(found, key=lambda pod: pod.index))

    def pods_besides(self, attempt: int) -> tuple[PodView, ...]:
        """Pods of all other attempts."""
        return tuple(pod for pod in self.pods if pod.attempt != attempt)


def after(moment: datetime, seconds: float) -> datetime:
    """The time ``seconds`` after a moment."""
    return moment + timedelta(seconds=seconds)
