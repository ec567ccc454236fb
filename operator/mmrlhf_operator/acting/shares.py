"""Work for many owners, of whom none may hold up the others."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

__all__ = ["Shares"]

T = TypeVar("T")


class Shares:
    """Lets so much be done at once in all, and so much of it for one owner.

    Args:
        at_once: Pieces of work in all.
        each: Pieces of work for one owner.
    """

    def __init__(self, *, at_once: int, each: int) -> None:
        self._all = asyncio.Semaphore(at_once)
        self._each = each
        self._own: dict[str, asyncio.Semaphore] = {}
        self._users: dict[str, int] = {}

    @contextlib.asynccontextmanager
    async def held(self, owner: str) -> AsyncIterator[None]:
        """Hold a place for the length of a block."""
        await self._take(owner)
        try:
            yield
        finally:
            self._give_back(owner)

    async def run_thread(self, owner: str, work: Callable[[], T], *, seconds: float) -> T:
        """Do work in a thread of its own.

        The place is held until the thread ends, though nobody may wait for it any more. The process
        does not wait for it when it ends.

        Raises:
            TimeoutError: It did not end in time, not counting the wait for a place.
            BaseException: What the work raises.
        """
        await self._take(owner)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def finish(end: Callable[[], None]) -> None:
            self._give_back(owner)
            if not future.done():
                end()

        def body() -> None:
            end: Callable[[], None]
            try:
                result = work()
            except BaseException as error:  # noqa: BLE001 - told to whoever waits
                raised = error
                end = lambda: future.set_exception(raised)  # noqa: E731
            else:
                end = lambda: future.set_result(result)  # noqa: E731
            with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody waits
                loop.call_soon_threadsafe(finish, end)

        try:
            threading.Thread(target=body, name=f"look-up for {owner}", daemon=True).start()
        except BaseException:
            self._give_back(owner)
            raise
        async with asyncio.timeout(seconds):
            return await future

    async def _take(self, owner: str) -> None:
        own = self._own.setdefault(owner, asyncio.Semaphore(self._each))
        self._users[owner] = self._users.get(owner, 0) + 1
        try:
            await own.acquire()
        except BaseException:
            self._leave(owner)
            raise
        try:
            await self._all.acquire()
        except BaseException:
            own.release()
            self._leave(owner)
            raise

    def _give_back(self, owner: str) -> None:
        self._all.release()
        self._own[owner].release()
        self._leave(owner)

    def _leave(self, owner: str) -> None:
        self._users[owner] -= 1
        if self._users[owner] == 0:  # nothing is kept of owners who want nothing
            del self._users[owner], self._own[owner]
