"""Attempts that never run: how long they may go on, where they are tried, and what holds them."""

from __future__ import annotations

from typing import Any

import pytest

from mmrlhf_operator.kube.timestamps import format_time
from mmrlhf_operator.rendering.manifests import pod
from tests.unit.operator.world import CONFIG, World, running, world

REFUSED = "Allocate failed due to requested number of devices unavailable for nvidia.com/gpu"


def refuse(there: World, node: str = "gpu-7") -> None:
    """A broken node's kubelet refuses one pod, and all that is to go goes."""
    name = max(there.pods)
    there.bind(name, node)
    there.fail(name, reason="UnexpectedAdmissionError", message=REFUSED, begun=False)
    there.settle()
    there.vanish()
    there.settle()


def start_next(there: World) -> None:
    """Wait out the back-off, whatever it is."""
    made = there.plan()
    there.tick(made.requeue_after or 0)
    there.settle()
    there.vanish()
    there.settle()


def test_the_pending_deadline_counts_over_attempts_that_never_ran() -> None:
    there = world(runPolicy={"pendingDeadlineSeconds": 300})
    there.reconcile()
    for _ in range(40):
        if there.status["phase"] == "Failed":
            break
        refuse(there)
        start_next(there)
        there.tick(5)
        there.settle()
    assert there.status["reason"] == "PendingDeadlineExceeded"
    assert 2 < there.status["attempt"] < 12
    assert "gpu-7" in there.status["message"]


def test_an_attempt_that_ran_begins_the_wait_anew_and_its_back_off_is_no_wait() -> None:
    there = running(runPolicy={"pendingDeadlineSeconds": 30, "backoffSeconds": 100})
    assert "pendingSince" not in there.status
    there.tick(1000)
    there.settle()
    there.disrupt("demo-0-0")
    there.settle()
    there.vanish()
    there.settle()
    there.tick(60)
    there.settle()
    assert there.status["phase"] == "Restarting"  # a back-off is longer than the deadline
    start_next(there)
    assert there.status["attempt"] == 1
    there.tick(29)
    there.settle()
    assert there.status["phase"] == "Pending"
    there.tick(2)
    there.settle()
    assert there.status["reason"] == "PendingDeadlineExceeded"
    assert "pendingSince" not in there.status


def test_a_failure_that_is_not_judged_yet_is_no_wait() -> None:
    there = running(runPolicy={"pendingDeadlineSeconds": 30, "backoffSeconds": 0})
    there.finish("demo-0-0", exit_code=137)
    there.settle()
    there.tick(61)
    there.settle()
    assert there.status["phase"] == "Restarting"
    assert there.status["pendingSince"] == format_time(there.now)  # and not from the failure on


def test_a_node_that_failed_often_is_avoided_by_the_next_pods() -> None:
    there = world()
    there.reconcile()
    for number in range(CONFIG.node_faults):
        assert all("affinity" not in entry["spec"] for entry in there.pods.values())
        refuse(there)
        assert there.status["nodeFaults"] == [{"name": "gpu-7", "count": number + 1}]
        start_next(there)
    assert "prefer other nodes than gpu-7" in there.conditions["Restarting"]["message"] or (
        there.conditions["Restarting"]["status"] == "False"
    )
    latest = f"demo-{CONFIG.node_faults}-"
    assert any(name.startswith(latest) for name in there.pods)
    for entry in (each for name, each in there.pods.items() if name.startswith(latest)):
        (term,) = entry["spec"]["affinity"]["nodeAffinity"][
            "preferredDuringSchedulingIgnoredDuringExecution"
        ]
        assert term["preference"]["matchFields"] == [
            {"key": "metadata.name", "operator": "NotIn", "values": ["gpu-7"]}
        ]


def test_a_job_that_has_succeeded_accuses_no_node() -> None:
    there = running(runPolicy={"backoffSeconds": 0})
    there.finish("demo-0-0", exit_code=137)
    there.finish("demo-0-1", exit_code=137)
    there.settle()
    assert there.status["nodeFaults"] == [{"name": "node-demo-0-0", "count": 1}]
    there.run()
    there.settle()
    for name in there.pods:
        there.finish(name)
    there.settle()
    assert there.status["phase"] == "Succeeded"
    assert "nodeFaults" not in there.status


def test_preemption_and_deletion_are_no_fault_of_a_node() -> None:
    there = running(runPolicy={"backoffSeconds": 0})
    there.disrupt("demo-0-0", "PreemptionByScheduler")
    there.settle()
    assert "nodeFaults" not in there.status


def test_topology_and_avoidance_stand_beside_each_other() -> None:
    job = world(scheduling={"topologyRequired": "topology.kubernetes.io/zone"}).job.job
    assert job is not None
    made = pod(job, attempt=3, index=0, config=CONFIG, avoided=["a", "b"])
    affinity: dict[str, Any] = made["spec"]["affinity"]
    assert set(affinity) == {"podAffinity", "nodeAffinity"}


@pytest.mark.parametrize("finalizers", [["kueue.x-k8s.io/managed"], []])
def test_what_keeps_a_pod_of_an_earlier_attempt_is_told_and_has_a_deadline(
    finalizers: list[str],
) -> None:
    there = running(runPolicy={"pendingDeadlineSeconds": 300, "backoffSeconds": 0})
    if finalizers:
        there.pods["demo-0-1"]["metadata"]["finalizers"] = finalizers
    there.finish("demo-0-0", exit_code=137)
    if finalizers:
        there.finish("demo-0-1", exit_code=137)
    there.tick(61)
    there.settle()
    there.vanish("demo-0-0")
    there.settle()
    assert there.status["attempt"] == 1
    assert there.status["reason"] == "Killed"
    grace = there.pods["demo-0-1"]["metadata"]["deletionGracePeriodSeconds"]
    there.tick(grace + 16)
    there.reconcile()
    assert ("Warning", "PodsRemain") in there.news
    held = finalizers[0] if finalizers else "the kubelet of node-demo-0-1"
    assert "demo-0-1" in there.status["message"]
    assert held in there.status["message"]
    there.tick(300)
    there.settle()
    assert there.status["reason"] == "PendingDeadlineExceeded"
    assert held in there.status["message"]


def test_what_keeps_a_pod_of_a_suspended_job_is_told() -> None:
    there = running()
    there.pods["demo-0-1"]["metadata"]["finalizers"] = ["example.org/held"]
    there.edit(runPolicy__suspend=True)
    there.settle()
    assert there.status["message"] == "runPolicy.suspend is true"
    grace = there.pods["demo-0-1"]["metadata"]["deletionGracePeriodSeconds"]
    there.vanish("demo-0-0")
    there.tick(grace + 16)
    there.reconcile()
    assert ("Warning", "PodsRemain") in there.news
    assert (there.status["phase"], there.status["reason"]) == ("Suspended", "SuspendedByUser")
    assert "demo-0-1 is held by example.org/held" in there.status["message"]
    there.vanish("demo-0-1")
    there.settle()
    assert there.status["message"] == "runPolicy.suspend is true"
