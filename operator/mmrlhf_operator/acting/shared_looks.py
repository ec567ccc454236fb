"""Looks at a namespace that many jobs need: one for all who ask within a while.

The API server has no index of what events are about: for one object it reads all events of the
namespace. So a look is for all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar

from mmrlhf_operator.kube.api import Api
from mmrlhf_operator.kube.concurrency import end_all

__all__ = ["SharedLooks"]

T = TypeVar("T")


class _Look(NamedTuple):
    at: datetime
    found: asyncio.Task[Any]


class SharedLooks(Generic[T]):
    """Makes a look at a namespace, and hands out what it found for a while.

    Args:
        look: Makes one.
        seconds: After which it is made again.
    """

    def __init__(
        self, look: Callable[[Api, str], Coroutine[Any, Any, T]], *, seconds: float
    ) -> None:
        self._look = look
        self._seconds = seconds
        self._looks: dict[str, _Look] = {}

    async def within(self, api: Api, namespace: str, *, now: datetime) -> T:
        """Return what a look at a namespace finds, or has found not long ago.

        Raises:
            ServerError: What the look raises; who asks next makes it again.
            UnreachableError: Likewise.
        """
        fresh = {name: one for name, one in self._looks.items() if self._is_fresh(one, now)}
        if namespace not in fresh:
            fresh[namespace] = _Look(now, asyncio.create_task(self._look(api, namespace)))
        self._looks = fresh
        # Others wait for it too: who is broken off leaves it to them.
        found: T = await asyncio.shield(fresh[namespace].found)
        return found

    async def close(self) -> None:
        """End the looks that are under way."""
        await end_all([look.found for look in self._looks.values()])

    def _is_fresh(self, look: _Look, now: datetime) -> bool:
        """Whether a look is under way, or has found something out not long ago."""
        if not look.found.done():
            return True
        well = not look.found.cancelled() and look.found.exception() is None
        return well and (now - look.at).total_seconds() < self._seconds
