"""The reward model of an MMDPOJob: waiting for the RewardTrainJob that trains it."""

from __future__ import annotations

from mmrlhf_api import Job, MMDPOJob
from mmrlhf_api.constants import Phase
from mmrlhf_operator.observation import Finding, JobView
from mmrlhf_operator.reasons import OperatorReason

__all__ = ["REWARD_KIND", "as_written", "find_reward_model", "reward_job"]

REWARD_KIND = "RewardTrainJob"
"""Kind of the jobs that are waited for."""
_MODEL = "model"
"""Folder of a RewardTrainJob's artifacts that holds its model."""


def reward_job(job: Job) -> str | None:
    """Name of the RewardTrainJob whose model scores a job's data, if it names one."""
    if isinstance(job, MMDPOJob) and job.spec.reward is not None:
        return job.spec.reward.job_name
    return None


def find_reward_model(job: Job, found: JobView | None) -> Job | Finding:
    """Return a job with the URI of its reward model, or what it waits for.

    Args:
        job: The job as it was written.
        found: The RewardTrainJob that it names, None when there is none.
    """
    name = reward_job(job)
    if name is None:
        return job
    assert isinstance(job, MMDPOJob)
    assert job.spec.reward is not None
    if found is None or found.deleting:
        return Finding(
            reason=OperatorReason.WAITING_FOR_REWARD,
            message=f"waits for {REWARD_KIND} {name}, which does not exist in this namespace",
        )
    phase = found.status.phase
    if phase is Phase.FAILED:
        return Finding(
            reason=OperatorReason.REWARD_FAILED,
            message=f"{REWARD_KIND} {name}, whose model spec.reward.jobName asks for, has failed; "
            "mend it and create it again, or name another one",
        )
    if phase is not Phase.SUCCEEDED or found.status.artifacts is None:
        return Finding(
            reason=OperatorReason.WAITING_FOR_REWARD,
            message=f"waits for {REWARD_KIND} {name} to succeed; it is {phase or Phase.PENDING}",
        )
    uri = f"{found.status.artifacts.uri.rstrip('/')}/{_MODEL}"
    reward = job.spec.reward.model_copy(update={"model_uri": uri})
    spec = job.spec.model_copy(update={"reward": reward})
    return job.model_copy(update={"spec": spec})


def as_written(job: Job) -> Job:
    """A job without what `find_reward_model` added."""
    if reward_job(job) is None:
        return job
    assert isinstance(job, MMDPOJob)
    assert job.spec.reward is not None
    reward = job.spec.reward.model_copy(update={"model_uri": None})
    spec = job.spec.model_copy(update={"reward": reward})
    return job.model_copy(update={"spec": spec})
