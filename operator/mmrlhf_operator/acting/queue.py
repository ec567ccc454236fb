"""A work queue of keys: what was added twice is done once, and one key at a time.

The semantics are those of controller-runtime's queue: a key that is added while it is worked on is
worked on again afterwards; one whose work failed comes back after a growing delay with jitter.

Beyond that it is fair: tenants are served in turn, whatever each has waiting, and none holds more
workers than are left free for the others. So one whose store, webhook or quota makes every look at
a job slow delays its own jobs alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import logging
import random
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, Generic, Protocol, TypeVar

from mmrlhf_api.backoff import doubling_wait
from mmrlhf_operator.errors import OperatorError, PostponeError, ServerError

__all__ = ["Gauge", "WorkQueue"]

_LOG = logging.getLogger(__name__)
_JITTER = 0.25

_DONE: Final = "done"
_POSTPONED: Final = "postponed"
_CONFLICT: Final = "conflict"
_FAILED: Final = "failed"

K = TypeVar("K", bound=Hashable)
K_contra = TypeVar("K_contra", bound=Hashable, contravariant=True)
Work = Callable[[K], Awaitable[float | None]]


class Gauge(Protocol[K_contra]):
    """Is told how the queue gets on."""

    def waited(self, seconds: float) -> None:
        """A key that wanted work has a worker."""

    def worked(self, key: K_contra, seconds: float, result: str) -> None:
        """Work on a key has ended: done, postponed, conflict or failed."""


class WorkQueue(Generic[K]):
    """Keys that want work, and the workers that do it.

    Args:
        work: Does the work of a key; returns after how many seconds it wants to be called again,
            or None.
        deadline: Seconds after which the work of a key is broken off.
        first: Seconds before a key whose work failed is worked on again; they double with each
            failure.
        most: Most seconds before that.
        tenant: Whose a key is; by default all are of one.
        rng: Source of jitter.
        gauge: Is told how long keys wait, and how their work ends.
    """

    def __init__(
        self,
        work: Work[K],
        *,
        deadline: float,
        first: float = 0.25,
        most: float = 120.0,
        tenant: Callable[[K], Hashable] = lambda _: "",
        rng: random.Random | None = None,
        gauge: Gauge[K] | None = None,
    ) -> None:
        self._work = work
        self._deadline = deadline
        self._first = first
        self._most = most
        self._tenant = tenant
        self._rng = rng or random.Random()  # noqa: S311 - jitter
        self._gauge = gauge
        # By tenant, the one whose turn is next first; in it by key since when it waits.
        self._ready: OrderedDict[Hashable, OrderedDict[K, float]] = OrderedDict()
        self._workers = 0
        self._busy: set[K] = set()
        self._held: Counter[Hashable] = Counter()
        self._again: set[K] = set()
        self._later: list[tuple[float, int, K]] = []
        self._due: dict[K, float] = {}
        self._failures: dict[K, int] = {}
        self._numbers = itertools.count()
        self._wanted = asyncio.Event()
        self._postponed = asyncio.Event()
        self.done = 0
        """Keys that were worked on so far."""

    def add(self, key: K, *, first: bool = False) -> None:
        """Ask for work on a key.

        Args:
            key: The key.
            first: Whether it goes before the other keys of its tenant, as something that was begun
                and can go on.
        """
        if key in self._busy:
            self._again.add(key)
            return
        waiting = self._ready.setdefault(self._tenant(key), OrderedDict())
        waiting.setdefault(key, self._now())
        if first:
            waiting.move_to_end(key, last=False)
        self._wanted.set()

    def add_after(self, key: K, seconds: float) -> None:
        """Ask for work on a key at a later time; the earliest wish counts."""
        due = self._now() + seconds
        if due < self._due.get(key, float("inf")):
            self._due[key] = due
            heapq.heappush(self._later, (due, next(self._numbers), key))
            self._postponed.set()

    def forget(self, key: K) -> None:
        """Drop what is kept about a key that does not exist any more."""
        self._failures.pop(key, None)
        self._due.pop(key, None)

    @property
    def depth(self) -> int:
        """How many keys want work and have no worker yet."""
        return sum(map(len, self._ready.values()))

    @property
    def is_idle(self) -> bool:
        """Whether no key wants work now or is worked on."""
        return not self._ready and not self._busy

    async def run(self, workers: int) -> None:
        """Work until cancelled; a worker that dies takes all down, so that it is noticed."""
        self._workers = workers
        async with asyncio.TaskGroup() as group:
            group.create_task(self._wake_later(), name="queue-timer")
            for number in range(workers):
                group.create_task(self._worker(), name=f"queue-worker-{number}")

    async def _worker(self) -> None:
        while True:
            key = await self._take()
            try:
                delay = await self._attempt(key)
            finally:
                self._release(key)
                self.done += 1
                if key in self._again:
                    self._again.discard(key)
                    self.add(key)
            if delay is not None:
                self.add_after(key, delay)

    async def _take(self) -> K:
        while (tenant := self._next_tenant()) is None:
            self._wanted.clear()
            await self._wanted.wait()
        waiting = self._ready[tenant]
        key, since = waiting.popitem(last=False)
        if waiting:
            self._ready.move_to_end(tenant)
        else:
            del self._ready[tenant]
        if self._gauge is not None:
            self._gauge.waited(self._now() - since)
        self._busy.add(key)
        self._held[tenant] += 1
        self._due.pop(key, None)  # this is the call that was wished for
        return key

    def _next_tenant(self) -> Hashable | None:
        """Whose turn it is: the first that holds fewer workers than are free, this one included."""
        free = self._workers - len(self._busy)
        return next((one for one in self._ready if self._held[one] < free), None)

    def _release(self, key: K) -> None:
        tenant = self._tenant(key)
        self._busy.discard(key)
        self._held[tenant] -= 1
        if not self._held[tenant]:
            del self._held[tenant]
        self._wanted.set()  # another worker may take now what it might not before

    async def _attempt(self, key: K) -> float | None:
        began, result = self._now(), _FAILED
        try:
            async with asyncio.timeout(self._deadline):
                delay = await self._work(key)
            result = _DONE
        except PostponeError as error:
            result = _POSTPONED
            _LOG.info("%s: %s", key, error)
            return error.seconds
        except Exception as error:  # noqa: BLE001 - any job may fail, the others go on
            if isinstance(error, ServerError) and error.is_conflict:
                result = _CONFLICT
            return self._retry(key, error)
        finally:
            if self._gauge is not None:
                self._gauge.worked(key, self._now() - began, result)
        self._failures.pop(key, None)
        return delay

    def _retry(self, key: K, error: Exception) -> float:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        seconds = doubling_wait(failures, first=self._first, longest=self._most)
        seconds *= 1 + _JITTER * self._rng.random()
        if isinstance(error, ServerError) and error.retry_after is not None:
            seconds = max(seconds, error.retry_after)
        if isinstance(error, ServerError) and error.is_conflict:
            _LOG.debug("%s: changed meanwhile, again in %.2f s", key, seconds)
        else:
            _LOG.warning(
                "%s: failed %d times, again in %.1f s: %s",
                key,
                failures,
                seconds,
                error or type(error).__name__,
                exc_info=not isinstance(error, OperatorError | OSError),
            )
        return seconds

    async def _wake_later(self) -> None:
        while True:
            now = self._now()
            while self._later and self._later[0][0] <= now:
                due, _, key = heapq.heappop(self._later)
                if self._due.get(key) == due:
                    del self._due[key]
                    self.add(key)
            self._postponed.clear()
            pause = max(0.0, self._later[0][0] - now) if self._later else None
            # Not wait_for, which before Python 3.12 loses a cancellation that comes with what it
            # waits for (python/cpython#86296): then a queue, and with it the operator, never ended.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._postponed.wait()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
