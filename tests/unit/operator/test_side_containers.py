"""What runs beside the job in its pods neither ends, fails, restarts nor hides it."""

from __future__ import annotations

from typing import Any

import pytest

from mmrlhf_operator.state.pods import PodView
from tests.unit.operator.world import World, running, world

LIVE: dict[str, Any] = {"running": {"startedAt": "2026-01-31T12:00:00Z"}}
NATIVE = {"restartPolicy": "Always"}


def view(there: World, name: str) -> PodView:
    found = PodView.read(there.pods[name])
    assert found is not None
    return found


@pytest.mark.parametrize("policy", ["Running", "All", "None"])
def test_a_job_has_succeeded_while_something_runs_on_beside_it_and_that_goes(policy: str) -> None:
    there = running(runPolicy={"cleanPodPolicy": policy})
    for name in there.pods:
        there.containers(name, mesh=LIVE, job=there.ended(0))
    there.settle()
    assert there.status["phase"] == "Succeeded"
    assert all("deletionTimestamp" in pod["metadata"] for pod in there.pods.values())


def test_one_that_crashed_beside_a_job_that_ended_well_fails_nothing() -> None:
    there = running()
    for name, pod in there.pods.items():
        there.containers(name, shipper=there.ended(1), job=there.ended(0))
        pod["status"]["phase"] = "Failed"  # as the kubelet sums up
    there.settle()
    assert there.status["phase"] == "Succeeded"


def test_one_that_crashes_beside_the_job_is_nothing_to_it() -> None:
    there = running()
    there.containers("demo-0-1", shipper=there.ended(1), job=LIVE)
    pod = there.pods["demo-0-1"]
    pod["status"]["containerStatuses"][1]["ready"] = True
    there.set_condition("demo-0-1", "Ready", "False", "ContainersNotReady")
    there.tick(90)
    there.settle()
    assert (there.status["phase"], there.status.get("restarts", 0)) == ("Running", 0)
    assert there.status["pods"]["summary"] == "2/2"


def test_one_that_waits_beside_the_job_is_nothing_to_it() -> None:
    there = running()
    there.containers(
        "demo-0-1", shipper={"waiting": {"reason": "ImagePullBackOff", "message": "no"}}, job=LIVE
    )
    there.tick(600)
    there.settle()
    assert there.status["phase"] == "Running"


def test_a_job_that_fails_is_judged_while_something_runs_on_beside_it() -> None:
    there = running()
    for name in there.pods:
        there.containers(name, mesh=LIVE, job=there.ended(137))
    there.settle()
    assert (there.status["phase"], there.status["reason"]) == ("Restarting", "Killed")
    assert "container job of pod demo-0-0" in there.status["message"]
    assert all("deletionTimestamp" in pod["metadata"] for pod in there.pods.values())


def test_an_init_container_that_fails_before_the_job_is_named() -> None:
    there = world()
    there.reconcile()
    there.begin_with("demo-0-0", "fetch", there.ended(3, message="no route"))
    there.pods["demo-0-0"]["status"]["phase"] = "Failed"
    there.tick(61)
    there.settle()
    assert (there.status["phase"], there.status["reason"]) == ("Failed", "ApplicationError")
    assert "container fetch of pod demo-0-0 ended with exit code 3" in there.status["message"]


def test_a_native_one_that_crashes_before_the_job_is_started_anew_by_its_kubelet() -> None:
    there = world()
    there.reconcile()
    there.begin_with("demo-0-0", "mesh", there.ended(1), **NATIVE)
    assert not view(there, "demo-0-0").failed
    there.tick(90)
    there.settle()
    assert there.status["phase"] == "Pending"


def test_a_native_one_that_keeps_the_job_from_starting_is_named() -> None:
    there = world()
    there.reconcile()
    crashes = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}
    there.begin_with("demo-0-0", "mesh", crashes, **NATIVE)
    there.run("demo-0-1")
    there.settle()
    assert "container mesh: CrashLoopBackOff" in there.status["message"]


def test_once_the_job_runs_a_native_one_is_nothing_to_it() -> None:
    there = world()
    there.reconcile()
    there.begin_with("demo-0-0", "mesh", there.ended(1), **NATIVE)
    there.run()
    there.tick(90)
    there.settle()
    assert there.status["phase"] == "Running"


def test_a_pod_of_a_lost_node_is_not_ready_though_its_container_was() -> None:
    there = running()
    pod = there.pods["demo-0-1"]
    pod["status"]["containerStatuses"][0]["ready"] = True
    there.set_condition("demo-0-1", "Ready", "False")  # as the node controller does
    assert not view(there, "demo-0-1").ready
