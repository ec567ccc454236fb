"""What stands in the way of a job that is valid, and how it gets out of the way."""

from __future__ import annotations

import asyncio

import pytest

from tests.operator.conftest import StartOperator
from tests.operator.driver import CONFIG, Driver, until

pytestmark = pytest.mark.cluster


async def test_a_secret_that_arrives_late_is_enough(
    driver: Driver, start_operator: StartOperator
) -> None:
    async with start_operator():
        driver.submit(artifacts__credentialsSecret="late")
        await until(
            lambda: driver.condition("Accepted").get("reason") == "SecretMissing", what="refusal"
        )
        secrets = f"/api/v1/namespaces/{driver.namespace}/secrets"
        keys = {"AWS_ACCESS_KEY_ID": "a"}
        driver.api.create(secrets, {"metadata": {"name": "late"}, "stringData": keys})
        await until(
            lambda: driver.condition("Accepted").get("reason") == "SecretIncomplete",
            what=lambda: str(driver.status()),
            seconds=30,
        )
        assert "AWS_SECRET_ACCESS_KEY" in driver.condition("Accepted")["message"]
        driver.api.patch(f"{secrets}/late", {"stringData": {"AWS_SECRET_ACCESS_KEY": "b"}})
        driver.edit(podTemplate={"labels": {"try": "again"}})  # no need to wait for the next look
        await driver.pods_are("demo-0-0", "demo-0-1")
        assert driver.condition("Accepted")["status"] == "True"


async def test_a_changed_spec_is_refused_and_the_job_goes_on(
    driver: Driver, start_operator: StartOperator
) -> None:
    driver.submit(runPolicy={"backoffSeconds": 0})
    async with start_operator():
        await driver.pods_are("demo-0-0", "demo-0-1")
        driver.run()
        await driver.phase("Running")
        driver.edit(optimizer={"learningRate": 0.375})
        await until(
            lambda: driver.condition("Accepted")["reason"] == "SpecChanged", what="the refusal"
        )
        assert driver.status()["phase"] == "Running"
        assert "spec.optimizer" in driver.condition("Accepted")["message"]
        for name in driver.pods():
            driver.finish(name, exit_code=137)
        await driver.pods_are("demo-1-0", "demo-1-1")
        path = f"/api/v1/namespaces/{driver.namespace}/configmaps/mmdpo-demo"
        assert "0.375" not in driver.api.get(path)["data"]["job.json"]
        driver.edit(optimizer={"learningRate": 1e-6})
        await until(lambda: driver.condition("Accepted")["status"] == "True", what="acceptance")


async def test_an_object_of_someone_else_is_left_alone(
    driver: Driver, start_operator: StartOperator
) -> None:
    path = f"/api/v1/namespaces/{driver.namespace}/services"
    body = {"metadata": {"name": "mmdpo-demo"}, "spec": {"ports": [{"port": 80}]}}
    theirs = driver.api.create(path, body)
    driver.submit()
    # Nobody tells when the name is free; it is looked at every half minute, and with each resync.
    async with start_operator(config=CONFIG.model_copy(update={"resync_seconds": 1.0})):
        await until(
            lambda: driver.condition("Accepted").get("reason") == "NameConflict",
            what=lambda: str(driver.status()),
        )
        assert "Service mmdpo-demo" in driver.condition("Accepted")["message"]
        await asyncio.sleep(3)
        assert driver.condition("Accepted")["reason"] == "NameConflict"  # nothing flaps
        assert driver.pods() == []
        assert driver.api.get(f"{path}/mmdpo-demo")["metadata"]["uid"] == theirs["metadata"]["uid"]
        driver.api.delete(f"{path}/mmdpo-demo")
        await driver.pods_are("demo-0-0", "demo-0-1")
        await until(lambda: driver.condition("Accepted")["status"] == "True", what="acceptance")


async def test_a_quota_that_is_used_up_is_told(
    driver: Driver, start_operator: StartOperator
) -> None:
    path = f"/api/v1/namespaces/{driver.namespace}/resourcequotas"
    driver.api.create(path, {"metadata": {"name": "small"}, "spec": {"hard": {"pods": "1"}}})
    await until(
        lambda: driver.api.get(f"{path}/small").get("status", {}).get("hard"), what="the quota"
    )
    driver.submit()
    async with start_operator():
        await driver.phase("Pending", reason="CreationRefused")
        assert "exceeded quota" in driver.condition("Scheduled")["message"]
