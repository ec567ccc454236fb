"""Who leads goes on leading however busy it is, and stops when it may not any more."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import pytest

from mmrlhf_operator.errors import LeadershipLostError, UnreachableError
from mmrlhf_operator.kube.leadership import Leadership
from mmrlhf_operator.kube.lease import Lease
from tests.operator.driver import until
from tests.patience import PATIENCE

SECONDS = 60 * PATIENCE


class Scripted(Lease):
    """Is held as long as a script says, and counts."""

    def __init__(self, holds: Callable[[int], bool]) -> None:
        self.problem = None
        self.tell = lambda _: None
        self._holds = holds
        self.tries = 0
        self.threads: set[int] = set()
        self.released = False
        self.closed = False

    async def try_to_hold(self) -> bool:
        self.tries += 1
        self.threads.add(threading.get_ident())
        if not self._holds(self.tries):
            raise UnreachableError("away")
        return True

    async def release(self) -> None:
        self.released = True

    async def close(self) -> None:
        self.closed = True


def leadership(lease: Lease, *, duration: float = 15.0) -> Leadership:
    return Leadership(lambda: lease, duration=duration, retry=0.001)


async def test_a_loop_that_has_no_time_keeps_the_lease() -> None:
    lease = Scripted(lambda _: True)

    async def work() -> None:
        deadline = time.monotonic() + SECONDS
        while lease.tries < 20:  # nothing else runs in this loop meanwhile
            assert time.monotonic() < deadline, "nobody renews the Lease"

    await leadership(lease).lead(work)
    assert threading.get_ident() not in lease.threads
    assert lease.released
    assert lease.closed


async def test_work_is_stopped_once_the_lease_cannot_be_renewed() -> None:
    lease = Scripted(lambda tries: tries < 3)
    stopped = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    one = leadership(lease, duration=0.3)
    with pytest.raises(LeadershipLostError, match="could not be renewed within"):
        await one.lead(work)
    assert stopped.is_set()
    assert not lease.released  # it is another one's by now, perhaps
    assert one.problem == "the Lease cannot be taken or renewed: away"


@pytest.mark.parametrize("holds", [True, False])
async def test_who_is_told_to_end_gives_the_lease_up(holds: bool) -> None:
    lease = Scripted(lambda _: holds)
    began = asyncio.Event()

    async def work() -> None:
        began.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(leadership(lease).lead(work))
    if holds:
        await began.wait()
    else:
        await until(lambda: lease.tries > 2, what="some tries")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert lease.released is holds
    assert lease.closed
    assert began.is_set() is holds


async def test_an_error_of_the_work_ends_it() -> None:
    lease = Scripted(lambda _: True)

    async def work() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await leadership(lease).lead(work)
    assert lease.closed


async def test_a_lease_that_cannot_be_made_is_told() -> None:
    def make() -> Lease:
        raise ValueError("no such thing")

    async def work() -> None:
        raise AssertionError("nobody leads")

    with pytest.raises(ValueError, match="no such thing"):
        await Leadership(make, duration=15.0, retry=0.001).lead(work)
