"""Whatever happens to the operator and its requests, jobs end alike, and all is told once."""

from __future__ import annotations

import asyncio
import functools
from collections import Counter

import pytest

from mmrlhf_api import Job
from mmrlhf_api.constants import API_VERSION
from mmrlhf_operator.kube.transport import Request, Transport
from tests.operator import faults
from tests.operator.conftest import StartOperator
from tests.operator.driver import CONFIG, IMPATIENT, Driver, until
from tests.operator.life import EVENTS, RESTS, live
from tests.operator.lives import overlapped, started_again

pytestmark = pytest.mark.cluster

PODS = Counter(f"demo-{attempt}-{index}" for attempt in range(3) for index in range(2))
COSTS = {
    "POST pods": PODS.total(),
    "POST configmaps": 1,
    "POST networkpolicies": 1,
    "POST services": 1,
    "DELETE services": 1,
    "POST events": EVENTS.total(),
}
"""What this life takes of the API server; see docs/adr/0041-requests-a-job.md."""
TOLD = EVENTS.total() + 1
"""Statuses that this life has in any case: one with each event, and one when a restart begins."""
BETWEEN = 3 * 3 + 2
"""Statuses that may be seen besides, the more the faster the operator is: of each attempt, that two
pods or one have no node, and that one runs; that one was killed, and ended, before the other."""


async def test_nothing_is_written_once_settled(
    driver: Driver, start_operator: StartOperator
) -> None:
    log: faults.Log = []
    config = CONFIG.model_copy(update={"resync_seconds": 0.3})
    async with start_operator(lambda inner: faults.Recorded(inner, log), config=config) as running:

        async def rest() -> None:
            await running.idle()
            settled, done = len(log), running.operator.queue.done
            version = driver.job()["metadata"]["resourceVersion"]
            await until(lambda: running.operator.queue.done >= done + 5, what="more looks")
            assert not [str(request) for request, _ in log[settled:] if request.writes]
            assert driver.job()["metadata"]["resourceVersion"] == version

        await live(driver, rest=rest)
    assert faults.created_pods(log) == PODS
    asked = Counter(_what(request) for request, status in log if status < 400)
    assert {what: count for what, count in asked.items() if what in COSTS} == COSTS
    assert asked["PATCH mmdpojobs/status"] <= TOLD + BETWEEN
    refused = [(str(request), status) for request, status in log if status >= 400]
    assert not [entry for entry in refused if entry[1] not in {404, 409}]


class Look:
    """Finds nothing in the way, once it is let."""

    def __init__(self) -> None:
        self.ends = asyncio.Event()

    async def check(self, job: Job) -> None:
        await self.ends.wait()


async def test_pods_that_nobody_can_have_made_are_not_read_one_by_one(
    driver: Driver, start_operator: StartOperator
) -> None:
    log: faults.Log = []
    look = Look()
    wrap = functools.partial(faults.Recorded, log=log)
    async with start_operator(wrap, checker=look):
        driver.submit(artifacts__uri="s3://bucket/runs")
        await driver.phase("Pending", reason="Checking")
        look.ends.set()
        await driver.pods_are("demo-0-0", "demo-0-1")
    asked = Counter(_what(request) for request, _ in log)
    assert asked["GET pods"] == 0
    assert 1 <= asked["GET configmaps"] <= 2  # one a plan that acts


async def test_an_operator_that_comes_among_jobs_lists_what_was_told_of_them_once(
    driver: Driver, start_operator: StartOperator
) -> None:
    names = [f"job-{number}" for number in range(5)]
    async with start_operator():
        for name in names:
            driver.submit(metadata__name=name, runPolicy={"suspend": True})
        await until(lambda: all(driver.events(name) for name in names), what="events")
    before = {name: driver.events(name) for name in names}
    log: faults.Log = []
    async with start_operator(functools.partial(faults.Recorded, log=log)) as running:
        await until(lambda: running.operator.queue.done >= len(names), what="a look at each")
        await running.idle()
    lists = [request for request, _ in log if _what(request) == "GET events"]
    assert [request.query["fieldSelector"] for request in lists] == ["source=mmrlhf-operator"]
    assert {name: driver.events(name) for name in names} == before


def _what(request: Request) -> str:
    """A request, as its method and what it is about."""
    parts = request.path.split("/")
    at = parts.index("namespaces") + 2 if "namespaces" in parts else -1
    return f"{request.method} {'/'.join([parts[at], *parts[at + 2 :]])}"


async def test_the_operator_dies_at_every_write(
    driver: Driver, start_operator: StartOperator
) -> None:
    log: faults.Log = []
    lives = faults.Lives(log)
    async with started_again(start_operator, lives.begin):
        await live(driver)
    done = [request for request, status in log if request.writes and status < 400]
    assert len(lives) >= len(done) >= PODS.total() + EVENTS.total() + RESTS
    assert faults.created_pods(log) == PODS


async def test_two_operators_overlap(driver: Driver, start_operator: StartOperator) -> None:
    log: faults.Log = []
    async with overlapped(start_operator, log):
        await live(driver, shared=True)
    assert faults.created_pods(log) == PODS


@pytest.mark.parametrize(("fault", "late"), faults.FAULTS.values(), ids=faults.FAULTS)
async def test_every_request_fails_once(
    fault: faults.Fault, late: bool, driver: Driver, start_operator: StartOperator
) -> None:
    log: faults.Log = []
    made: list[faults.Flaky] = []

    def flaky(inner: Transport) -> Transport:
        made.append(faults.Flaky(faults.Recorded(inner, log), fault, late=late))
        return made[0]

    async with start_operator(flaky, config=IMPATIENT):
        # Writes to one status that fail one after the other are told.
        await live(driver, troubled=True)
    assert faults.created_pods(log) == PODS
    failures = made[0].failures
    asked = Counter(str(request) for request, _ in log)
    assert set(asked) - {f"GET /apis/{API_VERSION}"} <= set(failures)
    assert {name for name in failures if not name.startswith("GET")} <= set(asked)
    assert failures[f"PATCH {driver.path()}/status"] >= RESTS
