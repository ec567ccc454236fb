"""Jobs that a job names and waits for, and what it takes from them.

A kind says by which field its jobs name another one (`mmrlhf_api.kinds.Need`): an MMDPOJob may name
the RewardTrainJob whose model scores its responses (paper 4.2 trains on the margins of the reward
model of section 3). The two may be created in either order. What was taken is written into the job
file of the pods, so that a job that started goes on with it whatever becomes of the one it was
taken from.
"""

from __future__ import annotations

from mmrlhf_api import Job, Need, kind_of
from mmrlhf_api.base import wire_dict
from mmrlhf_api.constants import Phase, Reason
from mmrlhf_operator.state.views import DependencyView, Finding

__all__ = ["resolve", "resolve_alike", "taken", "unready"]


def unready(job: Job, found: DependencyView | None) -> Finding | None:
    """Say what a job waits for; None when it names no other, or that one has succeeded."""
    need, name = _named(job)
    if need is None or (found is not None and found.output(need) is not None):
        return None
    what = f"spec.{need.field}: waits for {need.kind} {name}"
    if found is None:
        there = f"there is none in namespace {job.metadata.namespace}"
        return Finding(reason=Reason.WAITING_FOR_JOB, message=f"{what}: {there}")
    if found.phase == Phase.FAILED:
        return Finding(
            reason=Reason.DEPENDENCY_FAILED,
            message=(
                f"{what}: it has failed ({found.reason or 'for no known reason'}); delete it and"
                " create it anew, and this job goes on by itself"
            ),
        )
    if found.phase == Phase.SUCCEEDED and found.outputs:
        left = ", ".join(sorted(found.outputs))
        return Finding(
            reason=Reason.DEPENDENCY_FAILED,
            message=f"{what}: it has left no {need.takes} (it has: {left}); name another job",
        )
    return Finding(
        reason=Reason.WAITING_FOR_JOB, message=f"{what}: it is {found.phase or 'not started yet'}"
    )


def resolve(job: Job, found: DependencyView | None) -> Job:
    """Return a job with the results of the one it names in place of that one's name."""
    need, _ = _named(job)
    if need is None:
        return job
    assert found is not None  # `unready` said so
    uri = found.output(need)
    assert uri is not None
    return _insert(job, need, source=f"{found.name}/{found.uid}", uri=uri)


def resolve_alike(job: Job, accepted: Job) -> Job:
    """Return a job with the results that an accepted version of it has taken.

    A job that names another one than the accepted version did is returned as it is.
    """
    need, name = _named(job)
    if need is None:
        return job
    source = accepted.metadata.annotations.get(need.annotation, "")
    uri = need.taken(accepted.spec)
    if source.partition("/")[0] != name or uri is None:
        return job
    return _insert(job, need, source=source, uri=uri)


def taken(job: Job) -> str:
    """Say what a resolved job takes from which other; empty when it takes nothing."""
    for need in kind_of(job).needs:
        source = job.metadata.annotations.get(need.annotation)
        uri = need.taken(job.spec)
        if source is not None and uri is not None:
            return f"{need.kind} {source.partition('/')[0]} has succeeded: takes {uri}"
    return ""


def _named(job: Job) -> tuple[Need, str] | tuple[None, None]:
    return kind_of(job).named(wire_dict(job.spec)) or (None, None)


def _insert(job: Job, need: Need, *, source: str, uri: str) -> Job:
    annotations = {**job.metadata.annotations, need.annotation: source}
    metadata = job.metadata.model_copy(update={"annotations": annotations})
    return job.model_copy(update={"metadata": metadata, "spec": need.take(job.spec, uri)})
