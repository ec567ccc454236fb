"""An MMDPOJob that names a RewardTrainJob: waits, in either order, and runs with its model."""

from __future__ import annotations

import json
from typing import Any

from mmrlhf_api import MMDPOJob, parse_job
from tests.unit.operator.world import World, job_body, world


def waiting(reward: dict[str, Any] | None = None) -> World:
    there = world(reward={"jobName": "judge"})
    there.reward = reward
    there.settle()
    return there


def judge(phase: str | None = None) -> dict[str, Any]:
    body = job_body("RewardTrainJob")
    body["metadata"] |= {"name": "judge", "uid": "uid-2"}
    if phase is not None:
        body["status"] = {"phase": phase, "artifacts": {"uri": "/shared/runs/default/judge/uid-2"}}
    return body


def accepted(there: World) -> tuple[str, str, str]:
    condition = there.conditions["Accepted"]
    return condition["status"], condition["reason"], condition["message"]


def test_it_waits_with_a_condition_that_says_for_what() -> None:
    there = waiting()
    assert accepted(there)[:2] == ("False", "WaitingForReward")
    assert "RewardTrainJob judge, which does not exist" in accepted(there)[2]
    assert there.status["phase"] == "Pending"
    assert not there.pods
    assert there.config_map is None
    for phase in (None, "Running"):
        there.reward = judge(phase)
        there.settle()
        assert accepted(there)[:2] == ("False", "WaitingForReward")
        assert f"to succeed; it is {phase or 'Pending'}" in accepted(there)[2]
        assert not there.pods
    assert there.plan().requeue_after is not None, "it looks again by itself"


def test_it_runs_with_the_model_of_the_job_that_succeeded() -> None:
    there = waiting(judge("Running"))
    there.reward = judge("Succeeded")
    there.settle()
    assert accepted(there)[:2] == ("True", "Valid")
    assert there.pods
    assert there.config_map is not None
    job = parse_job(json.loads(there.config_map["data"]["job.json"]), source="ConfigMap")
    assert isinstance(job, MMDPOJob)
    assert job.spec.reward is not None
    assert job.spec.reward.model_uri == "/shared/runs/default/judge/uid-2/model"
    # What it was accepted with stays, whatever becomes of the other job.
    there.reward = None
    there.settle()
    assert accepted(there)[:2] == ("True", "Valid")
    there.edit(reward__jobName="other")
    there.settle()
    assert accepted(there)[:2] == ("False", "SpecChanged")
    assert "spec.reward changed" in accepted(there)[2]


def test_it_waits_on_after_a_failure_that_can_be_mended() -> None:
    there = waiting(judge("Failed"))
    assert accepted(there)[:2] == ("False", "RewardFailed")
    assert there.status["phase"] == "Pending"
    there.reward = judge("Succeeded")
    there.settle()
    assert there.pods


def test_other_jobs_wait_for_nothing() -> None:
    there = world()
    there.settle()
    assert there.pods
