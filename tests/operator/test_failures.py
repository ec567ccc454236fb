"""Each class of failure, on a real API server."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from tests.cluster import gpu_nodes, scripted_pods
from tests.operator.conftest import StartOperator
from tests.operator.driver import CONFIG, Driver, until

pytestmark = pytest.mark.cluster

INVALID = json.dumps({"exitCode": 2, "reason": "InvalidInput", "message": "train.jsonl, row 3"})


@pytest.mark.parametrize(
    ("exit_code", "kubelet", "message", "phase", "reason"),
    [
        (1, None, "", "Failed", "ApplicationError"),
        (1, None, INVALID, "Failed", "InvalidInput"),
        (137, "OOMKilled", "", "Failed", "OutOfMemory"),
        (137, None, "", "Restarting", "Killed"),
        (143, None, "", "Restarting", "Killed"),
    ],
)
async def test_how_a_process_ends(
    exit_code: int,
    kubelet: str | None,
    message: str,
    phase: str,
    reason: str,
    driver: Driver,
    start_operator: StartOperator,
) -> None:
    driver.submit()
    async with start_operator():
        await driver.pods_are("demo-0-0", "demo-0-1")
        driver.run()
        await driver.phase("Running")
        driver.finish("demo-0-1", exit_code=exit_code, message=message, reason=kubelet)
        await driver.phase(phase, reason=reason)
        # Nobody is left holding resources.
        await until(lambda: driver.ended("demo-0-0"), what="the deletion of the pod that still ran")
    told = driver.condition("Failed" if phase == "Failed" else "Restarting")["message"]
    assert "demo-0-1" in told
    assert not message or "row 3" in told


async def test_an_eviction_is_free_of_charge(driver: Driver, start_operator: StartOperator) -> None:
    driver.submit(runPolicy={"maxRestarts": 0, "backoffSeconds": 0})
    async with start_operator():
        await driver.pods_are("demo-0-0", "demo-0-1")
        driver.run()
        await driver.phase("Running")
        scripted_pods.evict(driver.api, driver.namespace, "demo-0-1")
        await until(lambda: driver.left() == ["demo-1-0", "demo-1-1"], what="restart")
    status = driver.status()
    assert (status["attempt"], status["restarts"]) == (1, 0)


async def test_pods_of_a_lost_node_are_forgotten(
    driver: Driver, start_operator: StartOperator
) -> None:
    driver.submit(runPolicy={"maxRestarts": 0, "backoffSeconds": 0}, resources={"nodes": 1})
    async with start_operator():
        await driver.pods_are("demo-0-0")
        driver.run()
        await driver.phase("Running")
        # Where every node is lost, the node controller blames the network and evicts nothing.
        with gpu_nodes.gpu_nodes(driver.api, [f"{driver.node}-healthy"]):
            gpu_nodes.set_ready(driver.api, driver.node, status="Unknown")
            # The real node controller taints the node and evicts the pod, which then hangs.
            await until(
                lambda: driver.status().get("attempt") == 1, what="a new attempt", seconds=60
            )
            assert driver.condition("Restarting")["reason"] in {"NodeLost", "PodDeleted"}
            path = f"/api/v1/namespaces/{driver.namespace}/pods/demo-0-0"
            assert "deletionTimestamp" in driver.api.get(path)["metadata"]


async def test_an_image_that_cannot_be_pulled(
    driver: Driver, start_operator: StartOperator
) -> None:
    limits = CONFIG.deadlines.model_copy(update={"image_pull": 3})
    driver.submit()
    async with start_operator(config=CONFIG.model_copy(update={"deadlines": limits})):
        await driver.pods_are("demo-0-0", "demo-0-1")
        driver.run("demo-0-0")
        driver.bind("demo-0-1")
        scripted_pods.wait_in(
            driver.api, driver.namespace, "demo-0-1", reason="ImagePullBackOff", message="no such"
        )
        await driver.phase("Starting", reason="ImagePullFailed")
        assert "no such" in driver.condition("Running")["message"]
        await driver.phase("Failed", reason="ImagePullFailed")


async def test_a_pod_without_a_node_says_which_resource_lacks(
    driver: Driver, start_operator: StartOperator
) -> None:
    driver.submit(resources={"nodes": 1, "cpu": "4000"})
    async with start_operator():
        await driver.phase("Pending", reason="Unschedulable")
        assert "Insufficient cpu" in driver.condition("Scheduled")["message"]
        await until(lambda: ("Warning", "Unschedulable") in driver.events(), what="the event")


async def test_what_runs_on_beside_the_job_keeps_it_not(
    driver: Driver, start_operator: StartOperator
) -> None:
    driver.submit()
    async with start_operator():
        await driver.pods_are("demo-0-0", "demo-0-1")
        driver.run()
        await driver.phase("Running")
        for name in ("demo-0-0", "demo-0-1"):
            scripted_pods.end_beside(driver.api, driver.namespace, name, beside="mesh")
        await driver.phase("Succeeded")
        await until(lambda: driver.left() == [], what="the deletion of what ran on")
        # The Service of a job that has ended counts in quotas, and goes.
        await until(
            lambda: driver.objects() == ["configmaps/mmdpo-demo", "networkpolicies/mmdpo-demo"],
            what=lambda: f"no Service among {driver.objects()}",
        )


async def test_the_clock_of_a_node_decides_nothing(
    driver: Driver, start_operator: StartOperator
) -> None:
    driver.submit(runPolicy={"backoffSeconds": 0})
    async with start_operator():
        await driver.pods_are("demo-0-0", "demo-0-1")
        driver.run()
        await driver.phase("Running")
        driver.finish("demo-0-1", exit_code=137, ahead=timedelta(hours=1))
        await until(lambda: driver.status().get("attempt") == 1, what="a new attempt")


async def test_a_finalizer_that_holds_a_pod_is_named(
    driver: Driver, start_operator: StartOperator
) -> None:
    driver.submit(runPolicy={"backoffSeconds": 0})
    async with start_operator():
        await driver.pods_are("demo-0-0", "demo-0-1")
        driver.run()
        await driver.phase("Running")
        path = f"/api/v1/namespaces/{driver.namespace}/pods/demo-0-1"
        driver.api.patch(path, {"metadata": {"finalizers": ["example.org/held"]}})
        driver.finish("demo-0-0", exit_code=137)
        driver.finish("demo-0-1", exit_code=137)
        await driver.phase("Restarting", reason="PodsRemain", seconds=60)
        assert "demo-0-1 is held by example.org/held" in driver.status()["message"]
        await until(lambda: ("Warning", "PodsRemain") in driver.events(), what="the event")
        driver.api.patch(path, {"metadata": {"finalizers": []}})
        await driver.pods_are("demo-1-0", "demo-1-1")


async def test_annotations_of_others_are_nobodys_business(
    driver: Driver, start_operator: StartOperator
) -> None:
    body = driver.submit()
    notes = {"kapp.k14s.io/original": "x" * 33_000, "Example.com/owner": "someone"}
    notes |= {f"tool.example.org/n{number}": "y" for number in range(65)}
    driver.api.patch(driver.path(), {"metadata": {"annotations": notes}})
    async with start_operator():
        await driver.pods_are("demo-0-0", "demo-0-1")
    assert driver.job()["metadata"]["uid"] == body["metadata"]["uid"]
    assert driver.condition("Accepted")["status"] == "True"
