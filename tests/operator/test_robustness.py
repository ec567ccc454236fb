"""Whatever happens to the operator and its requests, jobs end alike."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from mmrlhf_operator.transport import Request
from tests.operator import faults
from tests.operator.conftest import StartOperator
from tests.operator.driver import Driver
from tests.operator.life import live

pytestmark = pytest.mark.cluster

EXPECTED: dict[str, Any] = {
    "status": {
        "phase": "Succeeded",
        "reason": "Completed",
        "observedGeneration": 3,
        "attempt": 2,
        "restarts": 1,
        "pods": {"ready": 0, "total": 2, "summary": "0/2"},
        "artifacts": {},
        "conditions": {
            "Accepted": ("True", "Valid"),
            "Scheduled": ("True", "AllPodsScheduled"),
            "Running": ("False", "Completed"),
            "Restarting": ("False", "WaitingForPods"),
            "Suspended": ("False", "Resumed"),
            "Succeeded": ("True", "Completed"),
        },
    },
    "objects": ["configmaps/mmdpo-demo", "pods/demo-2-0", "pods/demo-2-1", "services/mmdpo-demo"],
}


def _same(result: dict[str, Any]) -> None:
    result["status"]["artifacts"] = {}
    result["status"].pop("metrics", None)
    assert result == EXPECTED


def _created_pods(log: list[tuple[Request, int]]) -> Counter[str]:
    """How often each pod was created for real."""
    return Counter(
        request.body["metadata"]["name"]
        for request, status in log
        if request.method == "POST" and request.path.endswith("/pods") and status == 201
    )


async def test_nothing_is_written_once_settled(
    driver: Driver, start_operator: StartOperator
) -> None:
    log: list[tuple[Request, int]] = []
    async with start_operator(lambda inner: faults.Recorded(inner, log)) as running:
        _same(await live(driver))
        await running.idle()
        await asyncio.sleep(1)
        settled, done = len(log), running.operator.queue.done
        version = driver.job()["metadata"]["resourceVersion"]
        await asyncio.sleep(5)
        assert running.operator.queue.done > done  # it was looked at again
        assert not [str(request) for request, _ in log[settled:] if request.writes]
        assert driver.job()["metadata"]["resourceVersion"] == version
    assert set(_created_pods(log).values()) == {1}
    refused = [(str(request), status) for request, status in log if status >= 400]
    assert not [entry for entry in refused if entry[1] not in {404, 409}]


@pytest.mark.parametrize("before", [False, True], ids=["after", "before"])
async def test_the_operator_dies_at_every_write(
    before: bool, driver: Driver, start_operator: StartOperator
) -> None:
    log: list[tuple[Request, int]] = []
    deaths = 0

    def mortal(inner: Any) -> Any:
        # Just before a write that no one else makes, it would die for ever: every other life is
        # one write longer.
        writes = 1 + (deaths % 2 if before else 0)
        return faults.Mortal(faults.Recorded(inner, log), before=before, writes=writes)

    async def supervise() -> None:
        nonlocal deaths
        while not over.is_set():
            try:
                async with start_operator(mortal) as running:
                    # Not `await running.task`: that would pass a cancellation on, and kopf does not
                    # take two.
                    await asyncio.wait({running.task})
            except (faults.Crash, BaseExceptionGroup) as death:
                if not _is_crash(death):
                    raise
            deaths += 1

    over = asyncio.Event()
    supervisor = asyncio.create_task(supervise())
    try:
        _same(await live(driver))
    finally:
        over.set()
        supervisor.cancel()  # which is lost if a crash is on its way out
        await asyncio.gather(supervisor, return_exceptions=True)
    assert deaths >= 15
    assert set(_created_pods(log).values()) == {1}


def _is_crash(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return any(_is_crash(inner) for inner in error.exceptions)
    return isinstance(error, faults.Crash)


async def test_two_operators_overlap(driver: Driver, start_operator: StartOperator) -> None:
    log: list[tuple[Request, int]] = []

    def recorded(inner: Any) -> Any:
        return faults.Recorded(inner, log)

    async with start_operator(recorded), start_operator(recorded):
        _same(await live(driver))
    assert set(_created_pods(log).values()) == {1}
    told = driver.events()
    assert told.count(("Normal", "Completed")) == 1
    assert told.count(("Warning", "Killed")) == 1


FAULTS = {
    "409": faults.refuse(409, "Conflict"),
    "410": faults.refuse(410, "Expired"),
    "429": faults.refuse(429, "TooManyRequests"),
    "500": faults.refuse(500, "InternalError"),
    "silence": faults.silence,
}


@pytest.mark.parametrize("late", [False, True], ids=["refused", "answer-lost"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_every_request_fails_once(
    fault: str, late: bool, driver: Driver, start_operator: StartOperator
) -> None:
    if late and fault in {"409", "410", "429"}:
        pytest.skip("a server that says so has done nothing")
    log: list[tuple[Request, int]] = []
    seen: Counter[tuple[str, str]] = Counter()

    def flaky(inner: Any) -> Any:
        return faults.Flaky(faults.Recorded(inner, log), FAULTS[fault], late=late, seen=seen)

    for _ in range(3):  # the question for the kinds fails too, and ends the operator
        try:
            async with start_operator(flaky):
                _same(await live(driver))
            break
        except Exception:
            if log or len(seen) > 1:
                raise
    assert set(_created_pods(log).values()) == {1}
    assert len(seen) > 15
