"""What is in the way of pods, on a real API server; `test_faults` has what happens to them."""

from __future__ import annotations

import pytest

from tests.cluster import gpu_nodes
from tests.operator.conftest import StartOperator
from tests.operator.driver import Driver, until

pytestmark = pytest.mark.cluster


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


async def test_a_pod_without_a_node_says_which_resource_lacks(
    driver: Driver, start_operator: StartOperator
) -> None:
    driver.submit(resources={"nodes": 1, "cpu": "4000"})
    async with start_operator():
        await driver.phase("Pending", reason="Unschedulable")
        assert "Insufficient cpu" in driver.condition("Scheduled")["message"]
        await until(lambda: ("Warning", "Unschedulable") in driver.events(), what="the event")


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
