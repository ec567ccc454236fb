"""Leader election: one replica works, the others wait.

The Lease is renewed well before it runs out, and whoever cannot renew it stops before another one
may take it. It is kept in a thread of its own, with connections of its own: however busy the loop
is in which the work is done, it is not lost for that. A loop that hangs for good is found by the
liveness probe, which it answers itself. Should two replicas work for a moment all the same, no harm
is done: each write is made on top of the version that it was decided on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any

from mmrlhf_operator.errors import LeadershipLostError, OperatorError
from mmrlhf_operator.kube.lease import Lease

__all__ = ["Leadership"]

_LOG = logging.getLogger(__name__)


class Leadership:
    """Waits for a Lease and holds it while work is done.

    Args:
        make: Makes the Lease, in the loop in which it will be used.
        duration: Seconds that the Lease lasts; work stops two thirds into them.
        retry: Seconds between attempts.
    """

    def __init__(self, make: Callable[[], Lease], *, duration: float, retry: float) -> None:
        self._make = make
        self._limit = duration * 2 / 3
        self._retry = retry
        self._lease: Lease | None = None

    @property
    def problem(self) -> str | None:
        """Why the last try to hold the Lease could not be made; None when it was."""
        return None if self._lease is None else self._lease.problem

    async def lead(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Wait for the Lease, then work for as long as it is held.

        The Lease is given up when the work ends, or is cancelled.

        Raises:
            LeadershipLostError: The Lease could not be renewed in time; work was cancelled before
                another process could take it.
        """
        held: Future[None] = Future()
        lost: Future[None] = Future()
        loop, stop = asyncio.new_event_loop(), asyncio.Event()

        def keep() -> None:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(self._keep(held, lost, stop))

        thread = threading.Thread(target=keep, name="lease", daemon=True)
        thread.start()
        over = asyncio.wrap_future(lost)
        try:
            began = asyncio.wrap_future(held)
            await asyncio.wait({began, over}, return_when=asyncio.FIRST_COMPLETED)
            if over.done():
                await over
            _LOG.info("this replica leads")
            await _do(work, over)
        finally:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(stop.set)
            await asyncio.shield(asyncio.to_thread(thread.join))
            if over.done():
                over.exception()  # it is known, whoever raised first

    async def _keep(self, held: Future[None], lost: Future[None], stop: asyncio.Event) -> None:
        """Take the Lease and renew it; in the thread."""
        try:
            lease = self._lease = self._make()
            try:
                await self._hold(lease, held, stop)
            finally:
                await lease.close()
        except BaseException as error:  # noqa: BLE001 - told to those who wait for it
            lost.set_exception(error)

    async def _hold(self, lease: Lease, held: Future[None], stop: asyncio.Event) -> None:
        while not await lease.try_and_tell():
            if await _is_set(stop, self._retry):
                return
        held.set_result(None)
        await self._renew(lease, stop)
        with contextlib.suppress(OperatorError):
            await lease.release()

    async def _renew(self, lease: Lease, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        renewed = loop.time()
        while not await _is_set(stop, self._retry):
            remaining = renewed + self._limit - loop.time()
            try:
                async with asyncio.timeout(max(0.0, remaining)):
                    held = await lease.try_and_tell()
            except TimeoutError:
                held = False
            if held:
                renewed = loop.time()
            elif loop.time() >= renewed + self._limit:
                raise LeadershipLostError(
                    f"the Lease could not be renewed within {self._limit:.0f} s"
                )


async def _is_set(stop: asyncio.Event, seconds: float) -> bool:
    """Wait for so long; returns whether it was set by then."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()
    return stop.is_set()


async def _do(work: Callable[[], Coroutine[Any, Any, None]], over: asyncio.Future[None]) -> None:
    """Work until it is done, or over."""
    task = asyncio.create_task(work(), name="leader-work")
    try:
        await asyncio.wait({task, over}, return_when=asyncio.FIRST_COMPLETED)
        if over.done():
            await over
        await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
