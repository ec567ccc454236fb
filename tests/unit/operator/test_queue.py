"""The queue does each key once at a time, and is fair to those whose keys they are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from mmrlhf_operator.acting.queue import WorkQueue

Key = tuple[str, int]


class Desk:
    """Work that ends when a test says so."""

    def __init__(self, *slow: str) -> None:
        self.slow = slow
        self.begun: list[Key] = []
        self.ended: list[Key] = []
        self.go = asyncio.Event()

    async def work(self, key: Key) -> float | None:
        self.begun.append(key)
        if key[0] in self.slow:
            await self.go.wait()
        self.ended.append(key)
        return None


@asynccontextmanager
async def working(desk: Desk, *keys: Key, workers: int = 8) -> AsyncIterator[WorkQueue[Key]]:
    queue: WorkQueue[Key] = WorkQueue(desk.work, deadline=600, tenant=lambda key: key[0])
    for key in keys:
        queue.add(key)
    task = asyncio.create_task(queue.run(workers))
    await turns()
    try:
        yield queue
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def turns() -> None:
    for _ in range(200):
        await asyncio.sleep(0)


def keys(tenant: str, number: int) -> list[Key]:
    return [(tenant, index) for index in range(number)]


async def test_tenants_are_served_in_turn() -> None:
    desk = Desk()
    async with working(desk, *keys("a", 100), ("b", 0), ("c", 0), ("b", 1), workers=1) as queue:
        assert queue.is_idle
    assert desk.begun[:6] == [("a", 0), ("b", 0), ("c", 0), ("a", 1), ("b", 1), ("a", 2)]
    assert sorted(desk.begun) == sorted([*keys("a", 100), *keys("b", 2), *keys("c", 1)])


@pytest.mark.parametrize("workers", [2, 3, 8, 16])
async def test_who_is_slow_delays_only_itself(workers: int) -> None:
    desk = Desk("slow")
    async with working(desk, *keys("slow", 100), workers=workers) as queue:
        assert len(desk.begun) == workers // 2 + workers % 2
        for key in keys("quick", 50):
            queue.add(key)
        await turns()
        assert desk.ended == keys("quick", 50)
        assert queue.depth == 100 - (workers // 2 + workers % 2)
        desk.go.set()
        await turns()
        assert queue.is_idle
    assert sorted(desk.ended) == sorted([*keys("slow", 100), *keys("quick", 50)])


async def test_several_who_are_slow_leave_room_as_well() -> None:
    desk = Desk("one", "two", "three")
    waiting = [*keys("one", 50), *keys("two", 50), *keys("three", 50)]
    async with working(desk, *waiting, workers=8) as queue:
        for key in keys("quick", 50):
            queue.add(key)
        await turns()
        assert desk.ended == keys("quick", 50)


async def test_one_worker_serves_all() -> None:
    desk = Desk()
    async with working(desk, *keys("a", 3), workers=1):
        pass
    assert desk.ended == keys("a", 3)


async def test_what_can_go_on_goes_first_among_its_own() -> None:
    desk = Desk("a")
    async with working(desk, *keys("a", 5), ("b", 0), workers=1) as queue:
        queue.add(("a", 4), first=True)
        queue.add(("a", 9), first=True)
        desk.go.set()
        await turns()
    assert desk.begun[:4] == [("a", 0), ("b", 0), ("a", 9), ("a", 4)]
    assert len(desk.begun) == 7


async def test_a_key_is_worked_on_by_one_at_a_time_and_again_when_asked_meanwhile() -> None:
    desk = Desk("a")
    async with working(desk, ("a", 0)) as queue:
        for _ in range(3):
            queue.add(("a", 0))
        await turns()
        assert desk.begun == [("a", 0)]
        desk.go.set()
        await turns()
        assert desk.ended == [("a", 0)] * 2
        assert queue.is_idle


async def test_it_ends_when_it_is_told_to_just_as_there_is_something_new_to_wait_for() -> None:
    queue: WorkQueue[Key] = WorkQueue(Desk().work, deadline=600)
    task = asyncio.create_task(queue.run(2))
    await turns()
    queue.add_after(("a", 0), 300)
    await turns()
    queue.add_after(("b", 0), 200)
    task.cancel()
    await turns()
    assert task.cancelled()
