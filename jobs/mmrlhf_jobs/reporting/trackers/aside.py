"""Trackers beside the training: it never waits for them, and none of them ends it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from mmrlhf_api.credentials import hide_passwords
from mmrlhf_api.plain_text import make_safe
from mmrlhf_jobs.reporting.events import Tell
from mmrlhf_jobs.reporting.manifest import Clock
from mmrlhf_jobs.reporting.trackers.tracker import Row, Tracker, date_rows

__all__ = ["Aside", "Trackers"]

_ROWS: Final = 20_000
"""Rows that wait for a tracker at most; the oldest are dropped and counted."""
_TRIES: Final = 12
"""How often a row is tried that the tracker refuses, over some 20 minutes, before it is dropped."""
_LAST_FAILURES: Final = 4
"""Failures at the end, of all rows together, after which none is tried twice: who is away a moment
is waited for, and no GPU waits for one that is gone."""


class Aside:
    """Gives one tracker its rows from a thread of its own.

    What fails is tried again, each time after twice as long; meanwhile rows wait. A row that is
    dropped is counted. That something fails is said once for each cause.

    Args:
        tracker: Takes them.
        tell: Takes sentences for whoever runs the job.
        what: What it takes, for messages.
        kept: The same as what it may have lost, and where it is kept.
        rows: Rows that wait at most.
        pause: Seconds before the second try.
        longest_pause: Most seconds between two tries.
    """

    def __init__(
        self,
        tracker: Tracker,
        *,
        tell: Tell,
        what: str = "figures",
        kept: str = "rows of metrics.jsonl, which has them all",
        rows: int = _ROWS,
        pause: float = 1.0,
        longest_pause: float = 300.0,
    ) -> None:
        self._tracker = tracker
        self._tell = tell
        self._what, self._kept = what, kept
        self._limit = rows
        self._first_pause = pause
        self._longest_pause = longest_pause
        self._waiting: deque[tuple[Row, float]] = deque()
        self._changed = threading.Condition()
        self._keep = self._closing = self._given_up = self._succeeded = False
        self._taken = self._lost = self._unfinished = self._giving = 0
        self._last_failures = 0
        self._told: str | None = None
        self._thread = threading.Thread(target=self._run, name=f"to-{tracker.name}", daemon=True)

    @property
    def name(self) -> str:
        """What the tracker is called."""
        return self._tracker.name

    def start(self) -> None:
        """Begin to give it rows."""
        self._thread.start()

    def put(self, row: Row, time: float) -> None:
        """Hand over a row; returns at once."""
        with self._changed:
            self._waiting.append((row, time))
            if len(self._waiting) > self._limit:
                self._waiting.popleft()
                self._lost += 1
            self._changed.notify()

    def keep(self) -> None:
        """Ask the tracker to make durable what it will have taken; returns at once."""
        with self._changed:
            self._keep = True
            self._changed.notify()

    def close(self, deadline: float, *, succeeded: bool) -> dict[str, int]:
        """Wait until all is taken, at most until a time of the steady clock.

        Args:
            deadline: That time, in seconds.
            succeeded: Whether the run is complete.

        Returns:
            Rows ``taken`` and ``lost``, those of earlier attempts among both; ``unfinished`` is 1
            where the end of it did not get through.
        """
        with self._changed:
            self._closing, self._succeeded = True, succeeded
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join(max(deadline - time.monotonic(), 0.0))
        with self._changed:
            self._given_up = True
            self._changed.notify()
            lost = self._lost + self._giving + len(self._waiting)
            unfinished = self._unfinished or int(self._thread.is_alive())
            found = {"taken": self._taken, "lost": lost, "unfinished": unfinished}
        if lost or unfinished:
            cause = self._told or "it does not come to an end"
            self._tell(
                f"{self.name} has not taken {lost} of {lost + self._taken} {self._kept}: {cause}"
            )
        return found

    def _run(self) -> None:
        """Open, give rows, keep, close: each until it has succeeded or is given up."""
        if not self._insist(self._tracker.open):
            self._unfinished = 1
            return
        self._note(None)
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._keep or self._closing)
                item = self._waiting.popleft() if self._waiting else None
                self._giving = int(item is not None)
                keep, self._keep = item is None and self._keep, item is not None and self._keep
            if item is not None:
                self._give(*item)
            elif keep:
                self._insist(self._tracker.keep, tries=_TRIES)
            else:
                self._unfinished = int(not self._insist(self._finish))
                if not (self._unfinished or self._lost):
                    self._note(None)
                return

    def _finish(self) -> None:
        self._tracker.keep()
        self._tracker.close(succeeded=self._succeeded)

    def _give(self, row: Row, time: float) -> None:
        taken = self._insist(lambda: self._tracker.log(row, time), tries=_TRIES)
        if taken:
            self._note(None)
        with self._changed:
            self._taken += taken
            self._lost += not taken
            self._giving = 0

    def _insist(self, work: Any, *, tries: int | None = None) -> bool:  # noqa: ANN401 - a call
        """Whether the work was done, after as many tries as it takes, or as there may be."""
        pause, done = self._first_pause, 0
        while True:
            try:
                work()
            except Exception as error:  # noqa: BLE001 - whatever a tracker's package raises
                self._note(f"{type(error).__name__}: {error}")
            else:
                return True
            done += 1
            with self._changed:
                self._last_failures += self._closing
                if done == tries or self._given_up or self._last_failures >= _LAST_FAILURES:
                    return False
                hurried = self._wait(pause)
            pause = self._first_pause if hurried else min(2 * pause, self._longest_pause)

    def _wait(self, seconds: float) -> bool:
        """Wait before the next try, and no longer where the end comes; whether it came."""
        closing = self._closing
        self._changed.wait_for(lambda: self._given_up or self._closing != closing, timeout=seconds)
        return self._closing != closing

    def _note(self, problem: str | None) -> None:
        """Say what is wrong, where it was not said before, and that rows are taken again.

        Nothing once all is given up: what became of it has been said.
        """
        if problem is not None:
            problem = make_safe(hide_passwords(" ".join(problem.split())[:300]))
        if problem == self._told or self._given_up:
            return
        if problem is None:
            self._tell(f"{self.name} takes the {self._what} again")
        else:
            self._tell(f"{self.name} does not take the {self._what}; the job goes on: {problem}")
        self._told = problem


class Trackers:
    """All that the rows of a run go to besides ``metrics.jsonl``.

    Args:
        members: One for each tracker.
        clock: Tells the time.
    """

    def __init__(self, members: Sequence[Aside], clock: Clock) -> None:
        self._members = members
        self._clock = clock
        self._counts: dict[str, dict[str, int]] | None = None

    def begin(self, history: Sequence[Row]) -> None:
        """Start, with the rows of earlier attempts that this one goes on from."""
        for member in self._members:
            for row, when in date_rows(history, self._clock):
                member.put(row, when)
            member.start()

    def log(self, row: Row) -> None:
        """Give all a row."""
        now = self._clock().timestamp()
        for member in self._members:
            member.put(row, now)

    def keep(self) -> None:
        """Let all make durable what they have."""
        for member in self._members:
            member.keep()

    def close(self, *, succeeded: bool, patience: float = 60.0) -> dict[str, dict[str, int]]:
        """Let all take what waits, for at most `patience` seconds in all.

        Args:
            succeeded: Whether the run is complete.
            patience: Seconds.

        Returns:
            Rows ``taken`` and ``lost`` by tracker; what the first call has returned, if called
            again.
        """
        if self._counts is None:
            deadline = time.monotonic() + patience
            self._counts = {
                member.name: member.close(deadline, succeeded=succeeded) for member in self._members
            }
        return self._counts
