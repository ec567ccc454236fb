"""Work shared by the processes of a job: each takes the next item when it is done with one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, TypeVar

import torch.distributed as dist

from mmrlhf_api.backoff import doubling_wait
from mmrlhf_jobs.process.gang import Runtime
from mmrlhf_jobs.process.interruption import Interrupted, Interruption

__all__ = ["SharedWork"]

T = TypeVar("T")

_FIRST_PAUSE: Final = 0.01
_LONGEST_PAUSE: Final = 0.5
_TOLD_SECONDS: Final = 1.0


class SharedWork:
    """Hands out items, and counts what all processes have done.

    The counters are in the store that torchrun's processes have met in; one process alone keeps
    its own. No result may depend on who takes what.

    Args:
        runtime: Processes of the job.
        interruption: Whether this process was asked to stop.
        counters: Names that processes count by, beside ``parts``.
        report: Told all counts about once a second, on rank 0.
        clock: Seconds.
    """

    def __init__(
        self,
        runtime: Runtime,
        interruption: Interruption,
        counters: Iterable[str],
        report: Callable[[dict[str, int]], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._runtime = runtime
        self._interruption = interruption
        self._counters = ("parts", *counters)
        self._report = report
        self._clock = clock
        self._own: dict[str, int] = {}
        self._pending: dict[str, int] = {}
        self._told = clock()
        self._store: Any = None
        if runtime.world_size > 1:
            # torch has no public name for the store of the default group.
            self._store = dist.distributed_c10d._get_default_store()  # noqa: SLF001

    def share(
        self, name: str, items: Sequence[T], *, enough: Callable[[], bool] = lambda: False
    ) -> Iterator[T]:
        """Items for this process; ends when all processes are done with all items.

        Args:
            name: Name of the stage, once in a run.
            items: The same on every process.
            enough: Whether the rest is not wanted, asked before each item; once it is, every
                process must come to see it. Items that were taken are then done, and they are the
                first ones.

        Raises:
            Interrupted: This process was asked to stop; what is done is kept.
        """
        try:
            while not enough() and (place := self._add(f"{name}/taken", 1) - 1) < len(items):
                self._stop_if_asked()
                yield items[place]
                # Counted before it is done: who sees that all is done tells all counts.
                self.count("parts", 1)
                self._push()
                self._add(f"{name}/done", 1)
        except BaseException:
            # Those who wait for this process must not wait for ever.
            self._add("failed", 1)
            raise
        looks = 0
        while self._add(f"{name}/done", 0) < min(self._add(f"{name}/taken", 0), len(items)):
            self._stop_if_asked()
            if self._add("failed", 0):
                raise dist.DistNetworkError("another process of the job has failed")
            self.count("parts", 0)
            looks += 1
            time.sleep(doubling_wait(looks, first=_FIRST_PAUSE, longest=_LONGEST_PAUSE))
        self.flush()

    def count(self, name: str, more: int) -> None:
        """Add to a counter of the job, such as rows read."""
        self._pending[name] = self._pending.get(name, 0) + more
        if self._clock() - self._told >= _TOLD_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Tell what was counted."""
        self._told = self._clock()
        self._push()
        if self._runtime.is_main:
            # Other processes may have counted what this one has not.
            totals = {name: self.total(name) for name in self._counters}
            self._report({name: n for name, n in totals.items() if n or name in self._pending})

    def _push(self) -> None:
        for name, more in self._pending.items():
            self._add(f"count/{name}", more)
        self._pending = dict.fromkeys(self._pending, 0)

    def total(self, name: str) -> int:
        """What all processes have counted, as far as they told."""
        return self._add(f"count/{name}", 0)

    def _stop_if_asked(self) -> None:
        if self._interruption.requested:
            raise Interrupted(
                "stopped as asked; the parts that are done are kept, run the same again to go on"
            )

    def _add(self, name: str, more: int) -> int:
        if self._store is not None:
            return int(self._store.add(f"mmrlhf/{name}", more))
        self._own[name] = self._own.get(name, 0) + more
        return self._own[name]
