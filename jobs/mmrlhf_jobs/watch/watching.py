"""Watches the processes of one node, and ends them when one of the job holds all others up.

The launcher of a node watches, in a thread: it is another process than those that it watches, so
that one that is stopped, or never gives Python's lock back, hides nothing. It reads where each is
(`position`) and how the system has it, tells the launchers of the other nodes (`nodes`), and
decides as they do (`judging`). Whoever holds the others up is told with what it was at; then all
write their stacks to their logs, and are killed.

Time is counted by looks, by no clock of another machine, and by no more for each than an interval:
a machine that was asleep, or a launcher that was stopped with all others, has missed nothing.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Final

from mmrlhf_api.plain_text import make_safe
from mmrlhf_jobs.watch.flight import RECORDS, pending_collective
from mmrlhf_jobs.watch.judging import Limits, Sighting, Verdict, judge
from mmrlhf_jobs.watch.nodes import Nodes
from mmrlhf_jobs.watch.position import place_file, read_place

__all__ = ["DUMP_SIGNAL", "Watch", "Watched"]

DUMP_SIGNAL: Final = signal.SIGUSR1
"""A process that gets it writes the stacks of its threads, and its record of collectives."""
_LONGEST: Final = 2.0
"""A look counts for so many intervals at most."""
_DUMP_SECONDS: Final = 3.0
_WORD: Final = timedelta(seconds=5)
"""How long a node may take to tell why it ends."""


@dataclass(frozen=True)
class Watched:
    """What is watched.

    Attributes:
        folder: Where the processes of this node tell where they are.
        node: This node's rank.
        world_size: Processes of the job, on all nodes.
        nodes: The other nodes.
        limits: How long what may last.
    """

    folder: Path
    node: int
    world_size: int
    nodes: Nodes
    limits: Limits


class Watch:
    """Watches from its making to `close`.

    Args:
        watched: What.
        end: Told before the processes are killed, by the thread that watches.
        interval: Seconds between two looks.
        clock: Seconds, growing steadily.
    """

    def __init__(
        self,
        watched: Watched,
        end: Callable[[Verdict], None],
        *,
        interval: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._watched = watched
        self._end = end
        self._interval = interval
        self._clock = clock
        self._looked: float | None = None
        self._told_for = 0.0
        self._seen: dict[int, Sighting] = {}
        self._closed = threading.Event()
        self.verdict: Verdict | None = None
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """Watch no more; what it is ending is ended first."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join()

    def look(self) -> Verdict | None:
        """Look at all processes once, and judge."""
        now = self._clock()
        passed = 0.0 if self._looked is None else now - self._looked
        passed = min(passed, _LONGEST * self._interval)
        self._looked = now
        own = list(self._own(passed))
        if all(one.place.code is not None for one in own):
            return None  # none has begun, or all have ended: the store may not be there
        others = [self._aged(one, passed) for one in self._watched.nodes.exchange(own)]
        self._seen.update((one.place.rank, one) for one in (*own, *others))
        if (told := self._watched.nodes.verdict()) is not None:
            self._told_for += passed
            # Those who lose a peer mostly end by themselves, and better.
            return told if not told.died or self._told_for > self._watched.limits.stopped else None
        seen = list(self._seen.values())
        return judge(seen, self._watched.limits, world_size=self._watched.world_size)

    def tell(self, verdict: Verdict) -> None:
        """Tell the other nodes why this one ends."""
        self._watched.nodes.tell(verdict)

    def told(self) -> Verdict | None:
        """What another node has told of its end, which may be about to."""
        return self._watched.nodes.verdict(patience=_WORD)

    def words_of(self, rank: int) -> str:
        """Where a process of this node was last, for people; empty if it never told."""
        place = read_place(place_file(self._watched.folder, rank))
        return "" if place is None else place.words

    def _own(self, passed: float) -> Iterator[Sighting]:
        for file in sorted(self._watched.folder.glob("rank-*.place")):
            place = read_place(file)
            if place is None:
                continue
            state = _state(place.pid)
            before = self._seen.get(place.rank)
            one = self._aged(Sighting(place, self._watched.node), passed)
            stopped = before.stopped + passed if before is not None and state == "T" else 0.0
            gone = before.gone + passed if before is not None and state == "" else 0.0
            yield replace(one, stopped=stopped, gone=gone)

    def _aged(self, one: Sighting, passed: float) -> Sighting:
        """With how long it stands still, as seen from here."""
        before = self._seen.get(one.place.rank)
        same = before is not None and before.place == one.place
        return replace(one, still=before.still + passed if before is not None and same else 0.0)

    def _run(self) -> None:
        while not self._closed.wait(self._interval):
            verdict = self.look()
            if verdict is not None:
                self.verdict = self._finish(verdict)
                return

    def _finish(self, verdict: Verdict) -> Verdict:
        """Tell, let all write what they are doing, and kill them."""
        self._watched.nodes.tell(verdict)
        alive = self._alive()
        for one in alive:
            with suppress(ProcessLookupError):
                os.kill(one.place.pid, DUMP_SIGNAL)
        # Stacks are on their way at once; the records are written by a thread that may be held up.
        deadline = self._clock() + _DUMP_SECONDS
        while self._clock() < deadline and not all(map(self._has_written, alive)):
            time.sleep(min(0.05, self._interval))
        if verdict.node != self._watched.node:
            # Processes end for want of those that are killed here: the one at fault speaks first.
            time.sleep(_DUMP_SECONDS + _LONGEST * self._interval)
        pending = [
            f"rank {one.place.rank} waits in {collective}"
            for one in alive
            if (collective := pending_collective(self._watched.folder / RECORDS, one.place.rank))
        ]
        message = ". ".join([verdict.message, *pending])
        verdict = replace(verdict, message=message)
        sys.stderr.write(f"watch: {make_safe(message)}; the job is ended\n")
        self._end(verdict)
        for one in alive:
            with suppress(ProcessLookupError):
                os.kill(one.place.pid, signal.SIGKILL)
        return verdict

    def _alive(self) -> list[Sighting]:
        own = [one for one in self._seen.values() if one.node == self._watched.node]
        return [one for one in own if _state(one.place.pid)]

    def _has_written(self, one: Sighting) -> bool:
        if one.stopped > 0 or not _state(one.place.pid):
            return True
        records = self._watched.folder / RECORDS
        return any(records.glob(f"collectives-rank-{one.place.rank}-*"))


def _state(pid: int) -> str:
    """How the system has a process, as in `proc(5)`: ``T`` is stopped; empty: it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return ""
        return _exists(pid)
    except ProcessLookupError:
        return ""
    state = text.rpartition(")")[2].split()[0]
    return "" if state in "ZX" else state


def _exists(pid: int) -> str:
    """Where there is no `/proc`, it is only known whether a process is there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    return "R"
