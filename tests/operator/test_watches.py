"""Watches may fail in any way: what they did not tell is found out, and jobs end alike."""

from __future__ import annotations

import asyncio
import signal
from typing import Any, get_args

import kopf
import pytest

from mmrlhf_operator import operator
from mmrlhf_operator.state.sweep import Sweep
from tests.cluster import scripted_pods
from tests.cluster.access import Access
from tests.operator import faults
from tests.operator.conftest import StartOperator
from tests.operator.driver import CONFIG, Driver, until
from tests.operator.faults import created_pods
from tests.operator.interference import Trouble, interfered
from tests.operator.life import attempt, live
from tests.operator.test_robustness import PODS

pytestmark = pytest.mark.cluster


SWEEPING = CONFIG.model_copy(update={"sweep_seconds": 1.0})
"""What a watch did not tell is found out in seconds."""


class Trusting(Sweep):
    """Compares nothing but what kopf has listed."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._rounds_of_trust = 1_000_000


@pytest.fixture
def trusting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but a list of kopf makes an operator doubt what it holds."""
    monkeypatch.setattr(operator, "Sweep", Trusting)


@pytest.mark.parametrize("trouble", get_args(Trouble))
async def test_watches_that_fail_miss_nothing(
    trouble: Trouble, driver: Driver, start_operator: StartOperator, control_plane: Access
) -> None:
    log: faults.Log = []
    # Silence is told from quiet by time alone.
    config = SWEEPING.model_copy(update={"watch_seconds": 2}) if trouble == "silence" else SWEEPING
    async with (
        interfered(control_plane.api, trouble) as interference,
        start_operator(
            lambda inner: faults.Recorded(inner, log), config=config, watch_at=interference.url
        ),
    ):
        await live(driver)
    assert created_pods(log) == PODS
    spoiled = set(interference.spoiled)
    assert {"watch mmdpojobs", "watch pods"} <= spoiled
    if trouble in {"429", "500"}:
        assert {"list mmdpojobs", "list pods", "list services", "list configmaps"} <= spoiled


@pytest.mark.usefixtures("trusting")
async def test_a_pod_that_is_gone_unheard_is_made_anew(
    driver: Driver, start_operator: StartOperator, control_plane: Access
) -> None:
    async with (
        interfered(control_plane.api) as interference,
        start_operator(config=SWEEPING, watch_at=interference.url),
    ):
        driver.submit(runPolicy={"backoffSeconds": 0})
        await attempt(driver, 0)
        async with interference.gap("pods"):
            scripted_pods.vanish(driver.api, driver.namespace, "demo-0-1")
        await attempt(driver, 1)
        assert ("Warning", "PodDeleted") in driver.events()


@pytest.mark.usefixtures("trusting")
async def test_nobody_waits_for_pods_that_are_gone_unheard(
    driver: Driver, start_operator: StartOperator, control_plane: Access
) -> None:
    async with (
        interfered(control_plane.api) as interference,
        start_operator(config=SWEEPING, watch_at=interference.url),
    ):
        driver.submit()
        await attempt(driver, 0)
        driver.edit(runPolicy={"suspend": True})
        await driver.phase("Suspended")
        await until(lambda: all(map(driver.ended, driver.pods())), what="the end of the pods")
        async with interference.gap("pods"):
            assert driver.pods() == ["demo-0-0", "demo-0-1"]
            driver.vanish()
        driver.edit(runPolicy={"suspend": False})
        await attempt(driver, 1)


@pytest.mark.usefixtures("trusting")
async def test_nobody_waits_for_a_job_that_is_gone_unheard(
    driver: Driver, start_operator: StartOperator, control_plane: Access
) -> None:
    judge = driver.path("RewardTrainJob", "judge")
    async with (
        interfered(control_plane.api) as interference,
        start_operator(config=SWEEPING, watch_at=interference.url),
    ):
        driver.submit(
            "RewardTrainJob",
            metadata__name="judge",
            resources={"nodes": 1, "cpu": "10m", "memory": "8Mi", "sharedMemory": "1Mi"},
        )
        driver.submit(reward={"jobName": "judge"})
        await driver.pods_are("judge-0-0")
        driver.run("judge-0-0")
        await _waits(driver, "it is Running")
        async with interference.gap("rewardtrainjobs"):
            driver.api.delete(judge)
        await _waits(driver, "there is none")
        assert not driver.api.exists(judge)


async def _waits(driver: Driver, why: str) -> None:
    def said() -> str:
        message: str = driver.condition("DependenciesReady").get("message", "")
        return message

    await until(lambda: why in said(), what=lambda: f"{why}, not {said()}")


@pytest.mark.usefixtures("driver")
async def test_who_stops_an_operator_is_not_killed_for_it(
    start_operator: StartOperator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kopf would kill its thread, and with it the process, ten minutes later: here at once."""
    made = kopf.OperatorSettings

    def impatient() -> kopf.OperatorSettings:
        settings = made()
        settings.process.ultimate_exiting_timeout = 0.0
        return settings

    killed: list[int] = []

    def kill(_: int, number: int) -> None:
        killed.append(number)

    monkeypatch.setattr(kopf, "OperatorSettings", impatient)
    monkeypatch.setattr(signal, "pthread_kill", kill)
    async with start_operator():
        pass
    await asyncio.sleep(0.05)  # a turn of the loop would do
    assert signal.SIGKILL not in killed
