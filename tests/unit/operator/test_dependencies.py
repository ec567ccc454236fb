"""A job that names another one waits for it, and then goes on with what that one left."""

from __future__ import annotations

import json

import pytest

from mmrlhf_operator.state.dependencies import dependency
from mmrlhf_operator.state.store import Key
from tests.unit.operator.world import World, job_body, world

MODEL = "/shared/runs/default/judge/uid-r/model"


def _waiting() -> World:
    there = world(reward={"jobName": "judge"})
    there.settle()
    return there


def _job_file(there: World) -> dict[str, dict[str, object]]:
    assert there.config_map is not None
    content: dict[str, dict[str, object]] = json.loads(there.config_map["data"]["job.json"])
    return content


def test_it_waits_in_either_order_and_says_for_what() -> None:
    there = _waiting()
    assert (there.status["phase"], there.status["reason"]) == ("Pending", "WaitingForJob")
    assert there.conditions["Accepted"]["status"] == "True"
    ready = there.conditions["DependenciesReady"]
    assert (ready["status"], ready["reason"]) == ("False", "WaitingForJob")
    assert "RewardTrainJob judge: there is none in namespace default" in ready["message"]
    assert not there.pods
    assert there.config_map is None
    there.train_reward("Running")
    there.settle()
    assert "it is Running" in there.conditions["DependenciesReady"]["message"]
    there.train_reward("Succeeded")
    there.settle()
    ready = there.conditions["DependenciesReady"]
    assert (ready["status"], ready["reason"]) == ("True", "DependenciesSucceeded")
    assert MODEL in ready["message"]
    assert set(there.pods) == {"demo-0-0", "demo-0-1"}
    assert _job_file(there)["spec"]["reward"] == {"modelUri": MODEL}
    assert _job_file(there)["metadata"]["annotations"] == {"mmrlhf.io/reward-job": "judge/uid-r"}


def test_a_failed_one_is_told_and_replaced_by_its_next_version() -> None:
    there = _waiting()
    there.train_reward("Failed", reason="OutOfMemory")
    there.reconcile()
    ready = there.conditions["DependenciesReady"]
    assert (ready["status"], ready["reason"]) == ("False", "DependencyFailed")
    assert "it has failed (OutOfMemory)" in ready["message"]
    assert there.news == [("Warning", "DependencyFailed")]
    there.settle()
    assert there.status["phase"] == "Pending"  # not Failed: nothing of its own has
    there.train_reward("Succeeded", uid="uid-r2")
    there.settle()
    assert _job_file(there)["spec"]["reward"] == {"modelUri": MODEL.replace("uid-r", "uid-r2")}


@pytest.mark.parametrize("phase", [None, "Failed", "Running"])
def test_once_started_it_goes_on_whatever_becomes_of_the_other(phase: str | None) -> None:
    there = _waiting()
    there.train_reward("Succeeded")
    there.settle()
    there.run()
    there.settle()
    if phase is None:
        there.reward_job = None
    else:
        there.train_reward(phase, uid="uid-r2")
    there.settle()
    assert there.status["phase"] == "Running"
    assert there.conditions["Accepted"]["status"] == "True"
    for name in sorted(there.pods):
        there.finish(name)
    there.settle()
    assert there.status["phase"] == "Succeeded"


def test_naming_another_one_after_the_start_is_refused_by_name_of_the_field() -> None:
    there = _waiting()
    there.train_reward("Succeeded")
    there.settle()
    there.edit(reward={"jobName": "other"})
    there.settle()
    accepted = there.conditions["Accepted"]
    assert (accepted["status"], accepted["reason"]) == ("False", "SpecChanged")
    assert accepted["message"].startswith("spec.reward changed")


def test_while_it_waits_the_spec_is_free_to_change() -> None:
    there = _waiting()
    there.edit(reward={"scoresUri": "/data/rewards.parquet"})
    there.settle()
    assert there.conditions["DependenciesReady"]["status"] == "True"
    assert len(there.pods) == 2


def test_waiting_for_a_job_is_no_waiting_for_nodes() -> None:
    there = world(reward={"jobName": "judge"}, runPolicy={"pendingDeadlineSeconds": 60})
    there.settle()
    there.tick(3600)
    there.settle()
    assert there.status["phase"] == "Pending"
    there.train_reward("Succeeded")
    there.settle()
    assert there.status["phase"] == "Pending"
    there.tick(61)
    there.settle()
    assert there.status["reason"] == "PendingDeadlineExceeded"


def test_suspending_and_resuming_goes_back_to_waiting() -> None:
    there = _waiting()
    there.edit(runPolicy__suspend=True)
    there.settle()
    assert there.status["phase"] == "Suspended"
    there.train_reward("Succeeded")
    there.settle()
    assert not there.pods
    there.edit(runPolicy__suspend=False)
    there.settle()
    assert len(there.pods) == 2


def test_what_a_body_names() -> None:
    body = job_body(reward={"jobName": "judge"})
    assert dependency(body) == Key("RewardTrainJob", "default", "judge")
    assert dependency(job_body(reward={"scoresUri": "a"})) is None
    assert dependency(job_body("RewardTrainJob")) is None
    for reward in (None, "judge", {"jobName": 3}, {"jobName": ""}):
        body["spec"]["reward"] = reward
        assert dependency(body) is None
    assert dependency({**body, "spec": None}) is None
