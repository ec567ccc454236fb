"""An MMDPOJob waits for the RewardTrainJob that it names, on a real API server."""

from __future__ import annotations

import json

import pytest

from mmrlhf_api import KINDS
from tests.operator.conftest import StartOperator
from tests.operator.driver import CONFIG, Driver, until
from tests.unit.api.specimens import changed

pytestmark = pytest.mark.cluster

QUIET = CONFIG.model_copy(update={"resync_seconds": 3600.0})
"""No resync helps: what changes with the other job must be told by its own events."""


def _train_reward(driver: Driver) -> str:
    body = changed("RewardTrainJob", artifacts__uri="/shared/runs", resources={"nodes": 1})
    body["metadata"]["name"] = "judge"
    collection = driver.path("RewardTrainJob", "").rstrip("/")
    uid: str = driver.api.create(collection, body)["metadata"]["uid"]
    return uid


@pytest.mark.parametrize("first", ["MMDPOJob", "RewardTrainJob"])
async def test_the_two_are_created_in_either_order(
    first: str, driver: Driver, start_operator: StartOperator
) -> None:
    async with start_operator(config=QUIET):
        uid = _train_reward(driver) if first == "RewardTrainJob" else ""
        driver.submit(reward={"jobName": "judge"})
        await driver.phase("Pending", reason="WaitingForJob")
        if not uid:
            assert "there is none" in driver.condition("DependenciesReady")["message"]
            uid = _train_reward(driver)
        await driver.pods_are("judge-0-0")
        driver.run("judge-0-0")
        message = "RewardTrainJob judge: it is Running"
        await until(
            lambda: message in driver.condition("DependenciesReady")["message"],
            what=lambda: f"{message}, not {driver.status()}",
        )
        driver.finish("judge-0-0")
        await driver.pods_are("judge-0-0", "demo-0-0", "demo-0-1")
        assert driver.condition("DependenciesReady")["status"] == "True"
        name = f"{KINDS['MMDPOJob'].short_name}-demo"
        path = f"/api/v1/namespaces/{driver.namespace}/configmaps/{name}"
        accepted = json.loads(driver.api.get(path)["data"]["job.json"])
        folder = f"/shared/runs/{driver.namespace}/judge/{uid}/model"
        assert accepted["spec"]["reward"] == {"modelUri": folder}
        # The one it took from may go: what was taken stays.
        driver.api.delete(driver.path("RewardTrainJob", "judge"))
        driver.run("demo-0-0", "demo-0-1")
        await driver.phase("Running")
        assert driver.condition("Accepted")["status"] == "True"
