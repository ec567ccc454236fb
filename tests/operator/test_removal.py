"""Jobs that go, and those that take their place.

The garbage collector of a fresh API server takes half a minute to learn of the kinds; the tests
before these give it the time.
"""

from __future__ import annotations

import pytest

from tests.operator.conftest import StartOperator
from tests.operator.driver import Driver, until

pytestmark = pytest.mark.cluster


async def test_deletion_leaves_nothing_behind(
    driver: Driver, start_operator: StartOperator
) -> None:
    driver.submit()
    async with start_operator():
        await driver.pods_are("demo-0-0", "demo-0-1")
        driver.run()
        await driver.phase("Running")
        driver.api.delete(driver.path())

        await until(
            lambda: not driver.left() and not driver.objects(),
            what=lambda: f"nothing, not {driver.objects()}",
            seconds=60,
        )
        assert not driver.api.exists(driver.path())


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
