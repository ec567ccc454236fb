"""What stands in the way of a job that is valid, and how it gets out of the way."""

from __future__ import annotations

import asyncio

import pytest

from mmrlhf_operator.kube.transport import Request
from tests.cluster.access import Access
from tests.cluster.errors import ApiError
from tests.operator import faults
from tests.operator.conftest import StartOperator
from tests.operator.driver import CONFIG, Driver, until
from tests.unit.operator.strange_servers import serving

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
            seconds=60,
        )
        assert "AWS_SECRET_ACCESS_KEY" in driver.condition("Accepted")["message"]
        driver.api.patch(f"{secrets}/late", {"stringData": {"AWS_SECRET_ACCESS_KEY": "b"}})
        # It looks again by itself; from 1.25 on, no edit of the spec can hurry it.
        await until(
            lambda: driver.pods() == ["demo-0-0", "demo-0-1"],
            what=lambda: str(driver.status()),
            seconds=90,
        )
        assert driver.condition("Accepted")["status"] == "True"


async def test_stores_that_never_answer_hold_up_nobody(
    driver: Driver, start_operator: StartOperator
) -> None:
    """More of them than the operator has workers."""
    limits = CONFIG.deadlines.model_copy(update={"preflight": 60.0})
    config = CONFIG.model_copy(update={"deadlines": limits, "workers": 2})
    names = [f"bad-{number}" for number in range(6)]
    with serving(lambda connection: connection.wait_for_end()) as silent:
        async with start_operator(config=config):
            store = {"uri": "s3://b/x", "endpoint": silent.endpoint}
            for name in names:
                driver.submit(metadata__name=name, artifacts=store)
            await until(
                lambda: all(driver.status(name=name) for name in names), what="all look-ups"
            )
            driver.submit()
            await until(lambda: driver.pods() == ["demo-0-0", "demo-0-1"], what="the good one")
            reasons = {driver.status(name=name)["reason"] for name in names}
            assert reasons == {"Checking"}  # none of them had to end for it


async def test_a_changed_spec_is_refused_and_the_job_goes_on(
    driver: Driver, start_operator: StartOperator, control_plane: Access
) -> None:
    driver.submit(runPolicy={"backoffSeconds": 0})
    async with start_operator():
        await driver.pods_are("demo-0-0", "demo-0-1")
        driver.run()
        await driver.phase("Running")
        if control_plane.knows_rules:
            with pytest.raises(ApiError) as error:
                driver.edit(optimizer={"learningRate": 0.375})
            assert "optimizer cannot change after the job was created" in str(error.value)
            assert driver.job()["spec"]["optimizer"]["learningRate"] != 0.375
            return
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
    await driver.limit_pods(1, quota="small")
    driver.submit()
    async with start_operator():
        await driver.phase("Pending", reason="CreationRefused")
        assert "exceeded quota" in driver.condition("Scheduled")["message"]
        await until(
            lambda: ("Warning", "CreationRefused") in driver.events(),
            what=lambda: f"the event, not {driver.events()}",
        )


async def test_half_a_gang_holds_no_quota(driver: Driver, start_operator: StartOperator) -> None:
    await driver.limit_pods(1, quota="small")
    driver.submit()
    log: faults.Log = []
    async with start_operator(lambda inner: faults.Recorded(inner, log)) as running:
        await driver.phase("Pending", reason="CreationRefused")
        await until(lambda: driver.left() == [], what=lambda: f"no pods, not {driver.pods()}")
        await running.idle()
        tries = sum(_creates_a_pod(request) for request, _ in log)
        assert tries <= 4  # it waits before it tries again
        # The pod of another job gets the room that half a gang would have held.
        driver.submit(metadata__name="other", resources__nodes=1)
        await until(
            lambda: "other-0-0" in driver.left(), what=lambda: f"other-0-0, not {driver.pods()}"
        )
        driver.api.patch(driver.quota_path("small"), {"spec": {"hard": {"pods": "3"}}})
        await until(
            lambda: driver.left() == ["demo-0-0", "demo-0-1", "other-0-0"],
            what=lambda: f"the whole gang, not {driver.pods()}: {driver.status()}",
            seconds=120,
        )
        driver.run("demo-0-0", "demo-0-1")
        await driver.phase("Running")
        assert driver.status()["attempt"] == 0
        assert [event for event in driver.events() if event[1] == "CreationRefused"] == [
            ("Warning", "CreationRefused")
        ]


def _creates_a_pod(request: Request) -> bool:
    return request.method == "POST" and request.path.endswith("/pods")
