"""Jobs from their creation to their end, on a real API server."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from mmrlhf_api import KINDS
from mmrlhf_operator.rendering.containers import GRACE_SECONDS
from mmrlhf_operator.state.store import Key
from tests.cluster.access import Access
from tests.operator.conftest import StartOperator
from tests.operator.driver import Driver, until

pytestmark = pytest.mark.cluster


@pytest.mark.parametrize("kind", KINDS)
async def test_a_job_runs_to_its_end(
    kind: str, driver: Driver, start_operator: StartOperator
) -> None:
    driver.submit(kind)
    async with start_operator():
        await driver.pods_are("demo-0-0", "demo-0-1")
        short = KINDS[kind].short_name
        assert driver.objects() == [
            f"configmaps/{short}-demo",
            f"networkpolicies/{short}-demo",
            "pods/demo-0-0",
            "pods/demo-0-1",
            f"services/{short}-demo",
        ]
        driver.run("demo-0-0")
        await driver.phase("Starting", kind)
        driver.run("demo-0-1")
        await driver.phase("Running", kind)
        assert driver.status(kind)["pods"]["summary"] == "2/2"
        driver.finish("demo-0-0")
        driver.finish("demo-0-1")
        await driver.phase("Succeeded", kind)
        await until(lambda: ("Normal", "Completed") in driver.events(), what="the event")


async def test_suspension_is_seen_while_pods_are_still_pending(
    driver: Driver, start_operator: StartOperator
) -> None:
    driver.submit(runPolicy={"suspend": True})
    async with start_operator():
        await driver.phase("Suspended")
        assert driver.objects() == []
        driver.edit(runPolicy={"suspend": False})
        await driver.pods_are("demo-0-0", "demo-0-1")
        driver.edit(runPolicy={"suspend": True})
        await driver.phase("Suspended")
        await until(lambda: not driver.left(), what="no pods")
        driver.edit(runPolicy={"suspend": False})
        await driver.pods_are("demo-1-0", "demo-1-1")


async def test_a_cancelled_job_stops_its_pods_and_stays(
    driver: Driver, start_operator: StartOperator
) -> None:
    driver.submit(runPolicy={"cleanPodPolicy": "None"})
    async with start_operator() as running:
        await driver.pods_are("demo-0-0", "demo-0-1")
        driver.run()
        await driver.phase("Running")
        driver.edit(runPolicy={"cancel": True})
        await driver.phase("Failed", reason="Cancelled")
        await until(
            lambda: driver.ended("demo-0-0") and driver.ended("demo-0-1"),
            what="the deletion of the pods that ran",
        )
        # Gently: their processes get the signal and the time to save a checkpoint.
        path = f"/api/v1/namespaces/{driver.namespace}/pods/demo-0-0"
        metadata = driver.api.get(path)["metadata"]
        assert metadata["deletionGracePeriodSeconds"] == GRACE_SECONDS
        await until(lambda: not driver.left(), what="no pods")
        await until(lambda: ("Normal", "Cancelled") in driver.events(), what="the event")
        before = driver.status()
        await running.idle()
        assert driver.status() == before
        assert driver.events().count(("Normal", "Cancelled")) == 1
        assert driver.api.exists(driver.path())


async def test_a_finished_job_is_deleted_after_its_time_to_live(
    driver: Driver, start_operator: StartOperator
) -> None:
    driver.submit(runPolicy={"ttlSecondsAfterFinished": 1})
    async with start_operator():
        await driver.pods_are("demo-0-0", "demo-0-1")
        driver.run()
        driver.finish("demo-0-0")
        driver.finish("demo-0-1")
        await until(lambda: not driver.api.exists(driver.path()), what="the deletion of the job")


async def test_printer_columns_tell_the_state(
    driver: Driver, start_operator: StartOperator, control_plane: Access
) -> None:
    driver.submit()
    async with start_operator() as running:
        await driver.pods_are("demo-0-0", "demo-0-1")
        driver.run()
        await driver.phase("Running")
        job = driver.job()
        key = Key("MMDPOJob", driver.namespace, "demo")
        running.operator.board.post(
            key,
            job["metadata"]["uid"],
            attempt=0,
            events=[{"event": "step", "step": 7, "totalSteps": 9, "margin": 0.25, "loss": 0.5}],
            at=datetime.now(UTC),
        )
        running.operator.queue.add(key)
        await until(lambda: driver.status().get("progress"), what="progress")
        rows = await asyncio.to_thread(
            control_plane.kubectl, "get", "mmdpo", f"--namespace={driver.namespace}"
        )
        head, row = rows.stdout.splitlines()
        assert head.split() == ["NAME", "PHASE", "READY", "ATTEMPT", "STEP", "MARGIN", "AGE"]
        assert row.split()[:6] == ["demo", "Running", "2/2", "0", "7", "0.25"]


async def test_jobs_of_different_kinds_share_a_name(
    driver: Driver, start_operator: StartOperator
) -> None:
    driver.submit("MMDPOJob")
    async with start_operator():
        await driver.pods_are("demo-0-0", "demo-0-1")
        driver.submit("RewardTrainJob")
        short = KINDS["RewardTrainJob"].short_name
        names = [f"{short}-demo-0-{index}" for index in range(2)]
        await driver.pods_are("demo-0-0", "demo-0-1", *names)
        driver.run(*names)
        await driver.phase("Running", "RewardTrainJob")
        for name in names:
            driver.finish(name)
        await driver.phase("Succeeded", "RewardTrainJob")
    assert driver.status("MMDPOJob")["phase"] == "Pending"
