"""One whole life of a job: start, failure, restart, suspension, resumption, success."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from tests.operator.driver import Driver, until

EVENTS = Counter(
    {
        ("Normal", "Valid"): 1,
        ("Normal", "AllPodsScheduled"): 3,
        ("Normal", "AllPodsRunning"): 3,
        ("Warning", "Killed"): 1,
        ("Normal", "SuspendedByUser"): 1,
        ("Normal", "Resumed"): 1,
        ("Normal", "Completed"): 1,
    }
)
"""What is told of that life, each transition once."""

RESTS = 5
"""How often the operator rests until the test goes on, each time with a status of its own."""

OUTCOME: dict[str, Any] = {
    "status": {
        "phase": "Succeeded",
        "reason": "Completed",
        "message": "artifacts are at /shared/runs/NAMESPACE/demo/UID",
        "observedGeneration": 3,
        "attempt": 2,
        "restarts": 1,
        "lost": {"Killed": 1},
        "pods": {"ready": 0, "total": 2, "summary": "0/2"},
        "reporter": {"attempt": 2, "uid": "demo-2-0"},
        "artifacts": {"uri": "/shared/runs/NAMESPACE/demo/UID"},
        "outputs": {
            "model": ("model", "/shared/runs/NAMESPACE/demo/UID/model"),
            "report": ("page", "/shared/runs/NAMESPACE/demo/UID/report.html"),
        },
        "conditions": {
            "Accepted": ("True", "Valid"),
            "Scheduled": ("True", "AllPodsScheduled"),
            "Running": ("False", "Completed"),
            "Restarting": ("False", "WaitingForPods"),
            "Suspended": ("False", "Resumed"),
            "Succeeded": ("True", "Completed"),
        },
        "metrics": {},
    },
    "objects": [
        "configmaps/mmdpo-demo",
        "networkpolicies/mmdpo-demo",
        "pods/demo-2-0",
        "pods/demo-2-1",
    ],
}
"""What is left of it, without times and identities."""


async def _nothing() -> None:
    pass


async def live(
    driver: Driver,
    *,
    rest: Callable[[], Awaitable[None]] = _nothing,
    troubled: bool = False,
    shared: bool = False,
) -> None:
    """Take a job through its life; what is left of it and was told of it must be as ever.

    Args:
        driver: The job's namespace.
        rest: Awaited wherever the operator has nothing to do until the test goes on.
        troubled: Requests fail, which may be told beside.
        shared: Two operators are at it. Which pod was made as the first is known to the one that
            made it, and the other may have seen the attempt end before that one writes it down.
    """
    driver.submit(runPolicy={"backoffSeconds": 0})
    await attempt(driver, 0)
    await rest()
    for index in (0, 1):
        driver.finish(f"demo-0-{index}", exit_code=137)
    await attempt(driver, 1)
    await rest()
    driver.edit(runPolicy={"suspend": True})
    await driver.phase("Suspended", seconds=60)
    await until(lambda: not driver.left(), what=lambda: f"no pods, not {driver.pods()}", seconds=60)
    await rest()
    driver.edit(runPolicy={"suspend": False})
    await attempt(driver, 2)
    await rest()
    for index in (0, 1):
        driver.finish(f"demo-2-{index}")
    await driver.phase("Succeeded", seconds=60)
    await until(lambda: _told(driver) >= EVENTS, what=lambda: f"{EVENTS - _told(driver)}")
    # What is done after the end: the Service of a job that has ended goes.
    await until(
        lambda: driver.objects() == OUTCOME["objects"], what=lambda: f"no {driver.objects()}"
    )
    await rest()
    told, left = _told(driver), outcome(driver)
    if troubled:
        del told["Warning", "WriteFails"]
        left["status"]["conditions"].pop("Blocked", None)
    wanted = copy.deepcopy(OUTCOME)
    if shared:
        del left["status"]["reporter"], wanted["status"]["reporter"]
    assert told == EVENTS, told - EVENTS
    assert left == wanted, left


def outcome(driver: Driver) -> dict[str, Any]:
    """What is left of the job and its objects, without times and identities."""
    job = driver.job()
    status = {key: value for key, value in job["status"].items() if not key.endswith("Time")}
    names = {driver.namespace: "NAMESPACE", job["metadata"]["uid"]: "UID"}
    status["artifacts"] = {"uri": _renamed(status["artifacts"]["uri"], names)}
    status["outputs"] = {
        one["name"]: (one["content"], _renamed(one["uri"], names)) for one in status["outputs"]
    }
    status["message"] = _renamed(status["message"], names)
    pods = f"/api/v1/namespaces/{driver.namespace}/pods"
    named = {driver.api.get(f"{pods}/{pod}")["metadata"]["uid"]: pod for pod in driver.pods()}
    uid = status["reporter"]["uid"]
    status["reporter"]["uid"] = named.get(uid, uid)
    status.setdefault("metrics", {})
    status["lost"] = {entry["reason"]: entry["attempts"] for entry in status.get("lost", ())}
    status["conditions"] = {
        entry["type"]: (entry["status"], entry["reason"]) for entry in status["conditions"]
    }
    return {"status": status, "objects": driver.objects()}


def _renamed(text: str, names: dict[str, str]) -> str:
    for old, new in names.items():
        text = text.replace(old, new)
    return text


def _told(driver: Driver) -> Counter[tuple[str, str]]:
    # The scheduler learns of a new node in its own time.
    return Counter(event for event in driver.events() if event != ("Warning", "Unschedulable"))


async def attempt(driver: Driver, number: int) -> None:
    """Let what is before an attempt vanish, and bring its pods to run."""
    names = (f"demo-{number}-0", f"demo-{number}-1")

    def vanished() -> bool:
        driver.vanish()
        return driver.pods() == list(names)

    await until(
        vanished, what=lambda: f"{names}, not {driver.pods()} {driver.status()}", seconds=60
    )
    driver.run(*names)
    await driver.phase("Running", seconds=60)
