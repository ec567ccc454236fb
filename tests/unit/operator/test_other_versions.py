"""Jobs that an older or newer operator has left behind."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mmrlhf_api import JobFileError, parse_job
from mmrlhf_operator.planning.actions import DeleteJob
from tests.unit.operator.world import World, job_body, running, world

ENV = {
    "credential": {"name": "WANDB_API_KEY", "value": "abc"},
    "address": {"name": "PROXY", "value": "http://me:abc@proxy.example.org"},
}
SHAPE = {"name": "RANK", "value": "0"}  # was never allowed


def accepted_by_an_older_one(env: dict[str, str]) -> World:
    """A job that runs, with a variable that jobs of today may not have."""
    there = running()
    assert there.config_map is not None
    job = json.loads(there.config_map["data"]["job.json"])
    for body in (there.body, job):
        body["spec"].setdefault("podTemplate", {})["env"] = [env]
    there.config_map["data"]["job.json"] = json.dumps(job)
    return there


@pytest.mark.parametrize("env", ENV.values(), ids=ENV)
def test_a_job_that_runs_goes_on_by_the_rules_that_it_was_accepted_by(env: dict[str, str]) -> None:
    there = accepted_by_an_older_one(env)
    there.settle()
    assert (there.status["phase"], there.status["reason"]) == ("Running", "AllPodsRunning")
    assert there.conditions["Accepted"]["status"] == "True"
    # Its later attempts have the variable as well, and it ends as any other.
    there.finish("demo-0-0", 137)
    for _ in range(3):
        there.tick(600)
        there.settle()
        there.vanish()
    there.settle()
    (first,) = there.pods["demo-1-0"]["spec"]["containers"]
    assert {"name": env["name"], "value": env["value"]} in first["env"]
    there.run()
    there.edit(runPolicy__ttlSecondsAfterFinished=60)
    for name in ("demo-1-0", "demo-1-1"):
        there.finish(name)
    there.settle()
    assert there.status["phase"] == "Succeeded"
    there.tick(61)
    assert there.plan().actions == (DeleteJob(uid="uid-1"),)


@pytest.mark.parametrize("env", ENV.values(), ids=ENV)
def test_one_that_has_not_begun_is_held_to_the_rules_of_today(env: dict[str, str]) -> None:
    there = world(podTemplate__env=[env])
    there.settle()
    assert (there.status["phase"], there.status["reason"]) == ("Pending", "InvalidSpec")
    assert not there.pods


def test_what_was_never_allowed_is_not_allowed_in_a_job_that_runs() -> None:
    there = accepted_by_an_older_one(SHAPE)
    there.settle()
    assert there.status["reason"] == "InvalidSpec"


def test_pods_read_their_job_as_it_was_accepted() -> None:
    for env in ENV.values():
        body = job_body(podTemplate__env=[env])
        with pytest.raises(JobFileError, match="secretKeyRef"):
            parse_job(body, source="x")
        job = parse_job(body, source="x", accepted=True)
        assert job.spec.pod_template.env[0].value == env["value"]


@pytest.mark.parametrize(
    ("phase", "more", "expected"),
    [
        ("Queued", {}, "Running"),
        ("Paused", {"startTime": "2026-01-31T12:00:00Z"}, "Running"),
        ("Cancelled", {"completionTime": "2026-01-31T12:30:00Z"}, "Cancelled"),
    ],
)
def test_a_phase_of_a_newer_operator_stops_nothing_and_no_end_is_undone(
    phase: str, more: dict[str, Any], expected: str
) -> None:
    there = running()
    there.status.update({"phase": phase, **more})
    before = {name: pod["metadata"]["uid"] for name, pod in there.pods.items()}
    there.settle()
    assert there.status["phase"] == expected
    assert {name: pod["metadata"]["uid"] for name, pod in there.pods.items()} == before
