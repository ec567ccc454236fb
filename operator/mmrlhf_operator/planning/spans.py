"""Spans of a job: what its trace says of a change of its status.

::

    MMDPOJob                         from the submission to the end
        attempt                      each attempt
            Pending, Starting, ...   each phase in it
            pod                      each pod, until the job's container runs in it
                schedule             until the pod has a node
                start                images, volumes, init containers

A span is told once it has ended. Names are few, as OpenTelemetry's specification of spans has it
("Span", general structural identity); which job, attempt and pod is among the attributes. Words of
users and of others are in none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from mmrlhf_api import JobStatus
from mmrlhf_api.constants import ConditionType, Phase
from mmrlhf_api.tracing import OBJECT, TraceContext, attempt_context, span_id
from mmrlhf_operator.planning.conditions import find
from mmrlhf_operator.state.pods import PodView
from mmrlhf_operator.state.views import TERMINAL

__all__ = ["Since", "Span", "Traced", "began", "object_span", "spans"]

_BEGUN_BY: Mapping[Phase, ConditionType] = {
    Phase.PENDING: ConditionType.ACCEPTED,
    Phase.STARTING: ConditionType.SCHEDULED,
    Phase.RUNNING: ConditionType.RUNNING,
    Phase.RESTARTING: ConditionType.RESTARTING,
    Phase.SUSPENDED: ConditionType.SUSPENDED,
}


@dataclass(frozen=True, kw_only=True)
class Span:
    """A part of a trace that has ended.

    Attributes:
        name: One of few words.
        trace: Identity of its trace, 32 hex digits.
        id: Its own, 16 hex digits.
        parent: That of the span above; None for the first of its trace.
        start: When it began.
        end: When it ended.
        attributes: What else there is to know.
        failure: Why it failed, in one word; None where it did not.
    """

    name: str
    trace: str
    id: str
    parent: str | None
    start: datetime
    end: datetime
    attributes: Mapping[str, str | int] = field(default_factory=dict)
    failure: str | None = None


@dataclass(frozen=True, kw_only=True)
class Traced:
    """An object whose life is traced.

    Attributes:
        kind: Its kind.
        namespace: Its namespace.
        name: Its name.
        uid: Its identity.
        created: When it was created.
        context: Its trace, and the span above it.
    """

    kind: str
    namespace: str
    name: str
    uid: str
    created: datetime
    context: TraceContext

    def attributes(self) -> dict[str, str | int]:
        """Which object it is."""
        return {
            "k8s.namespace.name": self.namespace,
            "mmrlhf.kind": self.kind,
            "mmrlhf.name": self.name,
            "mmrlhf.uid": self.uid,
        }


@dataclass(frozen=True)
class Since:
    """When what a job is in now began.

    Attributes:
        phase: The phase.
        attempt: The attempt.
    """

    phase: datetime
    attempt: datetime


def began(job: Traced, status: JobStatus) -> Since:
    """When the phase and the attempt of a job began, as far as its status tells.

    For an operator that did not see them begin.
    """
    told = [job.created] if status.attempt == 0 else []
    accepted = find(status.conditions, ConditionType.ACCEPTED)
    restarting = find(status.conditions, ConditionType.RESTARTING)
    if status.attempt > 0:
        told += [one.last_transition_time for one in (accepted, restarting) if one is not None]
    attempt = max(told, default=job.created)
    begun_by = _BEGUN_BY.get(status.phase) if status.phase is not None else None
    condition = find(status.conditions, begun_by) if begun_by is not None else None
    phase = attempt if condition is None else max(attempt, condition.last_transition_time)
    return Since(phase, attempt)


def object_span(
    traced: Traced, *, end: datetime, failure: str | None, more: Mapping[str, str | int]
) -> Span:
    """Return the span of a whole life.

    Args:
        traced: The object.
        end: When it ended.
        failure: Why it failed; None when it did not.
        more: Attributes besides.
    """
    return Span(
        name=traced.kind,
        trace=traced.context.trace,
        id=span_id(traced.uid, OBJECT),
        parent=traced.context.span,
        start=traced.created,
        end=max(traced.created, end),
        attributes={**traced.attributes(), **more},
        failure=failure,
    )


def spans(
    job: Traced,
    before: JobStatus,
    now: JobStatus,
    *,
    since: Since,
    pods: Sequence[PodView] = (),
    at: datetime,
) -> tuple[Span, ...]:
    """Return the spans that have ended with a change of a job's status.

    Args:
        job: The job.
        before: Its status until then.
        now: Its status from then on.
        since: When what it was in began.
        pods: Its pods.
        at: When it changed.
    """
    return tuple(_spans(job, before, now, since=since, pods=pods, at=at))


def _spans(
    job: Traced,
    before: JobStatus,
    now: JobStatus,
    *,
    since: Since,
    pods: Sequence[PodView],
    at: datetime,
) -> Iterator[Span]:
    if before.phase in TERMINAL:
        return
    ends = now.phase in TERMINAL
    failure = now.reason if now.phase is Phase.FAILED else None
    attempt = attempt_context(job.uid, job.context, before.attempt)
    about = {**job.attributes(), "mmrlhf.attempt": before.attempt}
    if now.phase is Phase.RUNNING and before.phase is not Phase.RUNNING:
        # All of its pods run; the attempt may have got its number with this very change.
        for pod in pods:
            if pod.attempt == now.attempt and pod.begun_since is not None:
                yield from _pod_spans(job, pod)
    if before.phase is not None and (before.phase, before.attempt) != (now.phase, now.attempt):
        yield Span(
            name=before.phase,
            trace=attempt.trace,
            id=span_id(job.uid, "phase", before.phase, since.phase.isoformat()),
            parent=attempt.span,
            start=since.phase,
            end=max(since.phase, at),
            attributes=about | ({"mmrlhf.reason": before.reason} if before.reason else {}),
        )
    if ends or now.attempt > before.attempt:
        assert attempt.span is not None
        yield Span(
            name="attempt",
            trace=attempt.trace,
            id=attempt.span,
            parent=span_id(job.uid, OBJECT),
            start=since.attempt,
            end=max(since.attempt, at),
            attributes=about,
            # Any other attempt that is not the last was stopped by request.
            failure=now.reason if now.phase is Phase.RESTARTING else failure,
        )
    if ends:
        more = {"mmrlhf.attempts": now.attempt + 1, "mmrlhf.restarts": now.restarts}
        yield object_span(job, end=at, failure=failure, more=more)


def _pod_spans(job: Traced, pod: PodView) -> Iterator[Span]:
    """Until the job's container runs in a pod; times are those of the cluster."""
    attempt = attempt_context(job.uid, job.context, pod.attempt)
    own = span_id(pod.uid, "pod")
    bound = max(pod.created_at, pod.bound_at or pod.created_at)
    # By its node's clock where that has told, which may be behind the server's.
    begun = max(bound, pod.started_at or bound)
    about: dict[str, str | int] = {
        "k8s.namespace.name": job.namespace,
        "k8s.pod.name": pod.name,
        "k8s.pod.uid": pod.uid,
        "mmrlhf.attempt": pod.attempt,
        "mmrlhf.index": pod.index,
        **({"k8s.node.name": pod.node} if pod.node else {}),
    }
    for name, identity, parent, start, end in (
        ("schedule", span_id(pod.uid, "schedule"), own, pod.created_at, bound),
        ("start", span_id(pod.uid, "start"), own, bound, begun),
        ("pod", own, attempt.span, pod.created_at, begun),
    ):
        yield Span(
            name=name,
            trace=attempt.trace,
            id=identity,
            parent=parent,
            start=start,
            end=end,
            attributes=about,
        )
