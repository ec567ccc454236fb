"""Jobs that go, and those that take their place.

The garbage collector of a fresh API server takes half a minute to learn of the kinds; the tests
before these give it the time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from mmrlhf_operator.state.store import Key
from tests.operator import faults
from tests.operator.conftest import StartOperator
from tests.operator.driver import Driver, until

pytestmark = pytest.mark.cluster


async def pending(driver: Driver) -> None:
    await driver.pods_are("demo-0-0", "demo-0-1")


async def running(driver: Driver) -> None:
    await pending(driver)
    driver.run()
    await driver.phase("Running")


async def restarting(driver: Driver) -> None:
    await running(driver)
    for index in (0, 1):
        driver.finish(f"demo-0-{index}", exit_code=137)
    await driver.phase("Restarting", reason="Killed")


async def suspended(driver: Driver) -> None:
    await running(driver)
    driver.edit(runPolicy={"suspend": True})
    await driver.phase("Suspended")


async def refused(driver: Driver) -> None:
    await until(
        lambda: driver.condition("Accepted").get("reason") == "NodePoolUnknown", what="a refusal"
    )


async def ended(driver: Driver, exit_code: int, phase: str) -> None:
    await running(driver)
    for index in (0, 1):
        driver.finish(f"demo-0-{index}", exit_code=exit_code)
    await driver.phase(phase)


STATES: dict[str, Callable[[Driver], Awaitable[None]]] = {
    "pending": pending,
    "running": running,
    "restarting": restarting,
    "suspended": suspended,
    "refused": refused,
    "succeeded": lambda driver: ended(driver, 0, "Succeeded"),
    "failed": lambda driver: ended(driver, 1, "Failed"),
}


@pytest.mark.parametrize("state", STATES)
async def test_deletion_leaves_nothing_behind(
    state: str, driver: Driver, start_operator: StartOperator
) -> None:
    log: faults.Log = []
    spec = {"nodePool": "nowhere"} if state == "refused" else {}
    driver.submit(runPolicy={"backoffSeconds": 600, "cleanPodPolicy": "None"}, **spec)
    async with start_operator(lambda inner: faults.Recorded(inner, log)) as operator:
        await STATES[state](driver)
        driver.api.delete(driver.path())

        await until(
            lambda: not driver.left() and not driver.objects(),
            what=lambda: f"nothing, not {driver.objects()}",
            seconds=60,
        )
        assert not driver.api.exists(driver.path())
        # Nothing is made for it any more, and nobody waits for it.
        await operator.idle()
        made = len([request for request, _ in log if request.writes])
        operator.operator.queue.add(Key("MMDPOJob", driver.namespace, "demo"))
        await operator.idle()
        assert len([request for request, _ in log if request.writes]) == made


async def test_a_job_of_the_same_name_waits_for_the_one_before(
    driver: Driver, start_operator: StartOperator
) -> None:
    async with start_operator():
        first = driver.submit()["metadata"]["uid"]
        await driver.pods_are("demo-0-0", "demo-0-1")
        driver.api.delete(driver.path())
        second = driver.submit()["metadata"]["uid"]

        def replaced() -> bool:
            return len(driver.left()) == 2 and driver.owners("pods") == {second}

        await until(replaced, what=lambda: f"pods of {second}, not {first}", seconds=60)
        assert driver.owners("configmaps") == {second}
        assert driver.condition("Accepted")["status"] == "True"
