"""Several requests at once."""

from __future__ import annotations

import asyncio
import inspect

import pytest

from mmrlhf_operator.kube.concurrency import run_all


def test_a_few_at_once_in_order() -> None:
    running, most = 0, 0

    async def read(number: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return number

    assert asyncio.run(run_all(map(read, range(5)), at_once=2)) == list(range(5))
    assert most == 2


def test_an_error_comes_when_all_have_ended() -> None:
    ended = []

    async def read(number: int) -> None:
        if number == 0:
            raise ValueError("broken")
        await asyncio.sleep(0)
        ended.append(number)

    with pytest.raises(ValueError, match="broken"):
        asyncio.run(run_all(map(read, range(4)), at_once=2))
    assert ended == [1, 2, 3]


@pytest.mark.parametrize("begun", [False, True])
def test_what_is_cancelled_leaves_none_that_nobody_awaits(begun: bool) -> None:
    """Before its tasks have begun, and while all but one wait for their turn."""
    began = []

    async def read(number: int) -> None:
        began.append(number)
        await asyncio.Event().wait()

    reads = [read(number) for number in range(3)]

    async def cancel() -> None:
        task = asyncio.create_task(run_all(reads, at_once=1))
        await asyncio.sleep(0)  # the tasks are made
        if begun:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert began == [0][:begun]
    assert {inspect.getcoroutinestate(one) for one in reads} == {inspect.CORO_CLOSED}
