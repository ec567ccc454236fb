"""One whole life of a job: start, failure, restart, suspension, resumption, success."""

from __future__ import annotations

from typing import Any

from tests.operator.driver import Driver, until


async def live(driver: Driver) -> dict[str, Any]:
    """Take a job through its life; returns what is left of it, without times."""
    driver.submit(runPolicy={"backoffSeconds": 0})
    await _attempt(driver, 0)
    for index in (0, 1):
        driver.finish(f"demo-0-{index}", exit_code=137)
    await _attempt(driver, 1)
    driver.edit(runPolicy={"suspend": True})
    await driver.phase("Suspended")
    await _gone(driver)
    driver.edit(runPolicy={"suspend": False})
    await _attempt(driver, 2)
    for index in (0, 1):
        driver.finish(f"demo-2-{index}")
    await driver.phase("Succeeded")
    return outcome(driver)


def outcome(driver: Driver) -> dict[str, Any]:
    """What is left of the job and its objects, without times and identities."""
    job = driver.job()
    status = {key: value for key, value in job["status"].items() if not key.endswith("Time")}
    uid = job["metadata"]["uid"]
    status["artifacts"] = {k: v.replace(uid, "UID") for k, v in status["artifacts"].items()}
    status["conditions"] = {
        entry["type"]: (entry["status"], entry["reason"]) for entry in status["conditions"]
    }
    return {"status": status, "objects": driver.objects()}


async def _attempt(driver: Driver, number: int) -> None:
    names = (f"demo-{number}-0", f"demo-{number}-1")

    def vanished() -> bool:
        driver.vanish()
        return driver.pods() == list(names)

    await until(
        vanished, what=lambda: f"{names}, not {driver.pods()} {driver.status()}", seconds=60
    )
    driver.run(*names)
    await driver.phase("Running", seconds=60)


async def _gone(driver: Driver) -> None:
    await until(lambda: not driver.left(), what=lambda: f"no pods, not {driver.pods()}", seconds=60)
