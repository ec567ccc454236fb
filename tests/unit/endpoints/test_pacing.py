"""Rates, rests, budgets and waits, on a clock that costs no time."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from mmrlhf_jobs.endpoints.pacing import Clock, Pacer, RetryBudget, backoff, retry_after


class Hours:
    """A clock that is put forward by whoever sleeps longest."""

    def __init__(self) -> None:
        self.now = 100.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def clock(self) -> Clock:
        return Clock(now=lambda: self.now, sleep=self._sleep)

    async def _sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.now + seconds, future))
        await future

    async def run(self, *tasks: asyncio.Task[None]) -> None:
        while not all(task.done() for task in tasks):
            await asyncio.sleep(0)
            if self._sleepers and not any(f.done() for _, f in self._sleepers):
                self._sleepers.sort(key=lambda entry: entry[0])
                self.now, future = self._sleepers.pop(0)
                future.set_result(None)


async def turns(hours: Hours, pacer: Pacer, number: int) -> list[float]:
    found: list[float] = []

    async def take() -> None:
        await pacer.turn()
        found.append(hours.now - 100.0)

    await hours.run(*[asyncio.create_task(take()) for _ in range(number)])
    return found


async def test_requests_are_spaced_evenly() -> None:
    hours = Hours()
    pacer = Pacer(30, hours.clock())
    assert await turns(hours, pacer, 4) == [0.0, 2.0, 4.0, 6.0]
    # Time that nobody used is not made up for.
    hours.now += 60
    assert await turns(hours, pacer, 2) == [66.0, 68.0]


async def test_without_a_limit_nobody_waits() -> None:
    hours = Hours()
    assert await turns(hours, Pacer(None, hours.clock()), 3) == [0.0, 0.0, 0.0]


async def test_a_rest_holds_everybody_back() -> None:
    hours = Hours()
    pacer = Pacer(60, hours.clock())
    pacer.rest(5)
    pacer.rest(1)
    found = await turns(hours, pacer, 3)
    assert found == [5.0, 6.0, 7.0]


def test_retries_are_a_share_of_the_requests() -> None:
    budget = RetryBudget(0.5)
    assert sum(budget.spend() for _ in range(50)) == 10, "to begin with"
    for _ in range(10):
        budget.earn()
    assert [budget.spend() for _ in range(6)] == [True] * 5 + [False]
    assert not RetryBudget(0).spend()


def test_waits_double_up_to_the_longest() -> None:
    waits = [backoff(n, first=1, longest=5, draw=1.0) for n in range(1, 6)]
    assert waits == [1, 2, 4, 5, 5]
    assert backoff(3, first=1, longest=5, draw=0.25) == 1
    assert backoff(5000, first=1, longest=5, draw=1.0) == 5


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("Tue, 24 Nov 2026 12:00:30 GMT", 30.0),
        ("Tue, 24 Nov 2026 11:59:00 GMT", 0.0),
        ("soon", None),
        ("nan", None),
    ],
)
def test_both_forms_of_retry_after_are_read(value: str, seconds: float | None) -> None:
    now = datetime(2026, 11, 24, 12, tzinfo=UTC)
    assert retry_after({"Retry-After": value}, now) == seconds
    assert retry_after({}, now) is None
