"""Traces of jobs, runs and sweeps, as they are carried out; nothing is asked of anyone for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from mmrlhf_api import JobStatus
from mmrlhf_api.constants import Phase
from mmrlhf_api.tracing import trace_context
from mmrlhf_operator.kube.timestamps import parse_time
from mmrlhf_operator.planning.spans import Since, Span, Traced, began, object_span, spans
from mmrlhf_operator.state.pods import PodView
from mmrlhf_operator.state.store import Key
from mmrlhf_operator.state.views import TERMINAL, JobView

__all__ = ["Tell", "Tracing"]

Tell = Callable[[Sequence[Span]], None]
"""Takes spans that have ended, and is done at once."""


class FlowStatus(Protocol):
    """What statuses of runs and sweeps say of where they are."""

    @property
    def phase(self) -> Phase | None:
        """Where."""

    @property
    def reason(self) -> str | None:
        """Why."""


class Tracing:
    """What the operator tells of as spans.

    Args:
        tell: Takes them.
        clock: Tells the time.
    """

    def __init__(self, tell: Tell, *, clock: Callable[[], datetime]) -> None:
        self._tell = tell
        self._clock = clock
        self._since: dict[Key, tuple[str, Since]] = {}

    def changed(self, key: Key, job: JobView, now: JobStatus, pods: Sequence[PodView]) -> None:
        """Tell of what has ended with a status that was written.

        Args:
            key: The job.
            job: The job as it was before.
            now: Its status from now on.
            pods: Its pods.
        """
        before, at = job.status, self._clock()
        traced = _traced(job)
        uid, since = self._since.get(key, ("", None))
        if since is None or uid != job.uid:
            since = began(traced, before)
        found = spans(traced, before, now, since=since, pods=pods, at=at)
        if found:
            self._tell(found)
        is_next = before.phase is not None and before.phase is not now.phase
        is_anew = now.attempt > before.attempt
        since = Since(at if is_next or is_anew else since.phase, at if is_anew else since.attempt)
        self._since[key] = (job.uid, since)

    def flow_changed(
        self, key: Key, body: Mapping[str, Any], before: FlowStatus, now: FlowStatus
    ) -> None:
        """Tell of a run or sweep that has ended with a status that was written.

        Args:
            key: It.
            body: It, as the API server has it.
            before: Its status until then.
            now: Its status from now on.
        """
        if now.phase not in TERMINAL or before.phase in TERMINAL:
            return
        metadata = body["metadata"]
        created, uid = parse_time(metadata["creationTimestamp"]), metadata["uid"]
        assert created is not None  # the server sets it
        whole = Traced(
            kind=key.kind,
            namespace=key.namespace,
            name=key.name,
            uid=uid,
            created=created,
            context=trace_context(metadata.get("annotations") or {}, (), uid),
        )
        failure = now.reason if now.phase is Phase.FAILED else None
        self._tell([object_span(whole, end=self._clock(), failure=failure, more={})])

    def forget(self, key: Key) -> None:
        """Forget a job that is gone."""
        self._since.pop(key, None)


def _traced(job: JobView) -> Traced:
    metadata = None if job.accepted is None else job.accepted.metadata
    context = (
        trace_context({}, (), job.uid)
        if metadata is None
        else trace_context(metadata.annotations, metadata.owner_references, job.uid)
    )
    return Traced(
        kind=job.kind.name,
        namespace=job.namespace,
        name=job.name,
        uid=job.uid,
        created=job.created_at,
        context=context,
    )
