"""Several requests at once, none of which outlives the call."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine, Iterable
from typing import Any, TypeVar

__all__ = ["end_all", "run_all"]

T = TypeVar("T")


async def end_all(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel tasks, and wait until they have ended, in whatever way."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def run_all(coroutines: Iterable[Coroutine[Any, Any, T]], *, at_once: int) -> list[T]:
    """Run all to their end, a few at once, and return what they return, in order.

    Cancelled, it ends those that run, and the others never begin.

    Raises:
        BaseException: The first error, once all others have ended too.
    """
    limit = asyncio.Semaphore(at_once)
    entries = list(coroutines)

    async def run(coroutine: Coroutine[Any, Any, T]) -> T:
        async with limit:
            return await coroutine

    try:
        results = await asyncio.gather(*map(run, entries), return_exceptions=True)
    finally:
        for entry in entries:
            entry.close()  # Python warns of what was made and neither awaited nor closed
    found: list[T] = []
    for result in results:
        if isinstance(result, BaseException):
            raise result
        found.append(result)
    return found
