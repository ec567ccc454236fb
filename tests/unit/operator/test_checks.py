"""Look-ups beside the workers: one job's waits for nobody, and nobody for it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from mmrlhf_api import Job, parse_job, spec_digest
from mmrlhf_operator.acting.checks import Checks
from mmrlhf_operator.acting.queue import WorkQueue
from mmrlhf_operator.acting.shares import Shares
from mmrlhf_operator.errors import PostponeError, UnreachableError
from mmrlhf_operator.state.store import Key
from mmrlhf_operator.state.views import Finding
from tests.unit.operator.world import job_body

KEY = Key("MMDPOJob", "default", "demo")
NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


class Slow:
    """A checker whose looks end when a test says so."""

    def __init__(self) -> None:
        self.begun = 0
        self.go = asyncio.Event()
        self.error: Exception | None = None
        self.ended = 0

    async def check(self, job: Job) -> Finding | None:
        self.begun += 1
        try:
            await self.go.wait()
        finally:
            self.ended += 1
        if self.error is not None:
            raise self.error
        return None


def checks(checker: Slow, woken: list[Key]) -> Checks:
    return Checks(checker, wake=woken.append, clock=lambda: NOW, first=0.5, longest=60.0)


def a_job() -> Job:
    return parse_job(job_body(), source="test")


async def turn() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_look_goes_on_beside_and_wakes_its_job_when_it_ends() -> None:
    checker, woken = Slow(), list[Key]()
    one = checks(checker, woken)
    for _ in range(3):
        one.begin(KEY, a_job())
        await turn()
        assert one.latest(KEY) is None
    assert (checker.begun, woken) == (1, [])
    checker.go.set()
    await turn()
    assert woken == [KEY]
    result = one.latest(KEY)
    assert result is not None
    assert (result.digest, result.finding) == (spec_digest(a_job()), None)
    assert (result.retry_at - NOW).total_seconds() == 10.0
    one.begin(KEY, a_job())
    await turn()
    assert checker.begun == 2
    assert one.latest(KEY) is not None


async def test_a_look_that_fails_is_made_again_ever_later() -> None:
    checker, woken = Slow(), list[Key]()
    checker.error = UnreachableError("away")
    checker.go.set()
    one = checks(checker, woken)
    seconds = []
    for _ in range(3):
        one.begin(KEY, a_job())
        await turn()
        with pytest.raises(PostponeError, match="away") as caught:
            one.latest(KEY)
        seconds.append(caught.value.seconds)
        assert one.latest(KEY) is None
    assert seconds == [0.5, 1.0, 2.0]


async def test_the_look_of_a_job_that_is_gone_is_ended_and_so_are_all() -> None:
    checker, woken = Slow(), list[Key]()
    one = checks(checker, woken)
    other = KEY._replace(name="other")
    one.begin(KEY, a_job())
    one.begin(other, a_job())
    await turn()
    one.forget(KEY)
    one.forget(KEY._replace(name="nobody"))
    await turn()
    assert checker.ended == 1
    await one.close()
    assert checker.ended == 2


async def test_workers_do_not_wait_for_looks() -> None:
    """Forty jobs whose stores never answer, one worker, and a job that needs it."""
    checker = Slow()
    one = checks(checker, [])

    good = asyncio.Event()

    async def work(key: Key) -> None:
        if key == KEY:
            good.set()
        else:
            one.begin(key, a_job())

    queue: WorkQueue[Key] = WorkQueue(work, deadline=60.0)
    for number in range(40):
        queue.add(KEY._replace(name=f"bad-{number}"))
    queue.add(KEY)
    task = asyncio.create_task(queue.run(1))
    await good.wait()
    assert checker.ended == 0
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await one.close()


async def test_places_are_shared_and_nothing_is_kept_of_who_wants_none() -> None:
    shares = Shares(at_once=3, each=2)
    inside: list[str] = []
    most: dict[str, int] = {}
    go = asyncio.Event()

    async def hold(owner: str) -> None:
        async with shares.held(owner):
            inside.append(owner)
            most[owner] = max(most.get(owner, 0), inside.count(owner))
            most["all"] = max(most.get("all", 0), len(inside))
            await go.wait()
            inside.remove(owner)

    tasks = [asyncio.create_task(hold(owner)) for owner in "aaaaaabbcc"]
    await turn()
    assert sorted(inside) == ["a", "a", "b"]
    tasks[5].cancel()
    go.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert most["a"] == 2
    assert most["all"] == 3
    assert shares._own == {}
    assert shares._users == {}
