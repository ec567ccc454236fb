"""Jobs that a job names and waits for, and what it takes from them.

An MMDPOJob may name the RewardTrainJob whose model scores its responses (paper 4.2 trains on the
margins of the reward model of section 3). The two may be created in either order. What was taken is
written into the job file of the pods, so that a job that started goes on with it whatever becomes
of the one it was taken from.
"""

from __future__ import annotations

from mmrlhf_api import Job, MMDPOJob
from mmrlhf_api.constants import ANNOTATION_REWARD_JOB, Phase, Reason
from mmrlhf_api.mmdpo import RewardSource
from mmrlhf_operator.state.dependencies import _REWARD
from mmrlhf_operator.state.views import DependencyView, Finding

__all__ = ["resolve", "resolve_alike", "taken", "unready"]


def unready(job: Job, found: DependencyView | None) -> Finding | None:
    """Say what a job waits for; None when it names no other, or that one has succeeded."""
    name = _named(job)
    if name is None or (found is not None and found.model_folder is not None):
        return None
    what = f"spec.reward.jobName: waits for {_REWARD.name} {name}"
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
    return Finding(
        reason=Reason.WAITING_FOR_JOB, message=f"{what}: it is {found.phase or 'not started yet'}"
    )


def resolve(job: Job, found: DependencyView | None) -> Job:
    """Return a job with the results of the one it names in place of that one's name."""
    if _named(job) is None:
        return job
    assert found is not None  # `unready` said so
    assert found.model_folder is not None
    return _insert(job, source=f"{found.name}/{found.uid}", model_uri=found.model_folder)


def resolve_alike(job: Job, accepted: Job) -> Job:
    """Return a job with the results that an accepted version of it has taken.

    A job that names another one than the accepted version did is returned as it is.
    """
    source = accepted.metadata.annotations.get(ANNOTATION_REWARD_JOB, "")
    reward = accepted.spec.reward if isinstance(accepted, MMDPOJob) else None
    if source.partition("/")[0] != _named(job) or reward is None or reward.model_uri is None:
        return job
    return _insert(job, source=source, model_uri=reward.model_uri)


def taken(job: Job) -> str:
    """Say what a resolved job takes from which other; empty when it takes nothing."""
    source = job.metadata.annotations.get(ANNOTATION_REWARD_JOB)
    reward = job.spec.reward if isinstance(job, MMDPOJob) else None
    if source is None or reward is None or reward.model_uri is None:
        return ""
    return f"{_REWARD.name} {source.partition('/')[0]} has succeeded: takes {reward.model_uri}"


def _named(job: Job) -> str | None:
    if not isinstance(job, MMDPOJob) or job.spec.reward is None:
        return None
    return job.spec.reward.job_name


def _insert(job: Job, *, source: str, model_uri: str) -> Job:
    assert isinstance(job, MMDPOJob)  # no other kind names jobs
    annotations = {**job.metadata.annotations, ANNOTATION_REWARD_JOB: source}
    metadata = job.metadata.model_copy(update={"annotations": annotations})
    spec = job.spec.model_copy(update={"reward": RewardSource(model_uri=model_uri)})
    return job.model_copy(update={"metadata": metadata, "spec": spec})
