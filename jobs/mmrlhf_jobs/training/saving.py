"""Checkpoints that are saved while the training goes on.

The steps wait while the state is copied to the memory of the host; a thread uploads the copy. At
most one checkpoint is on its way. One that is due meanwhile is late: it is made at the first step
after that one is done. Where an upload fails, it is told and counted, and the next one that is due
tries again; checkpoints that are there stay.

Processes agree on where each of them stands by the sum that opens every step, which is taken
anyway (`OptimizerLoop`): when none is busy any more, all see it at the same step, and rank 0 makes
the checkpoint visible. So no collective is taken but by the steps' own thread, and at places that
are the same for all (ADR 0027).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from threading import Thread
from typing import Any, Final

from mmrlhf_jobs.errors import JobError, SupersededError
from mmrlhf_jobs.process.free_memory import free_memory
from mmrlhf_jobs.process.gang import Runtime
from mmrlhf_jobs.training.checkpoints import Checkpoints, CheckpointState, Part
from mmrlhf_jobs.training.engines.interface import Engine
from mmrlhf_jobs.training.engines.state import Fragment

__all__ = ["Saver", "Savings"]

_PART_OF_FREE: Final = 2
"""A copy takes at most one of so many parts of the memory that is free."""


@dataclass
class Savings:
    """What checkpoints have come to in this attempt.

    Attributes:
        saved: Checkpoints that were saved.
        failed: Those that could not be.
        late: Those that were due while another was on its way.
        seconds: Time that steps have waited for them, and for that which the attempt goes on from.
    """

    saved: int = 0
    failed: int = 0
    late: int = 0
    seconds: float = 0.0

    def as_dict(self) -> dict[str, float | int]:
        """For the manifest."""
        return {**asdict(self), "seconds": round(self.seconds, 3)}


@dataclass(frozen=True)
class _Flight:
    """A checkpoint on its way.

    Attributes:
        state: What all processes share.
        work: What this process does for it now.
        committing: Whether all parts are there, and the word that it is whole is under way.
    """

    state: CheckpointState
    work: Future[Part | None]
    committing: bool = False


class Saver:
    """Saves the checkpoints of one training; every process calls its methods alike.

    Args:
        checkpoints: Where they are kept.
        every: Steps from one to the next.
        runtime: Process group.
        tell: Takes a sentence for whoever started the job.
        clock: Seconds, growing steadily.
        free: Tells how many bytes of memory are free.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        *,
        every: int,
        runtime: Runtime,
        tell: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        free: Callable[[], int] = free_memory,
    ) -> None:
        self._checkpoints = checkpoints
        self._every = every
        self._runtime = runtime
        self._tell = tell
        self._clock = clock
        self._free = free
        self._flight: _Flight | None = None
        self._due = False
        self._told_memory = False
        self.savings = Savings()

    def is_busy(self) -> bool:
        """Whether this process is at work on the checkpoint that is on its way."""
        return self._flight is not None and not self._flight.work.done()

    def advance(self, busy: float) -> None:
        """See to the checkpoint that is on its way, between two steps.

        Args:
            busy: How many processes were at work on it when the step began; the same on each.

        Raises:
            SupersededError: Another attempt has taken over.
        """
        if self._flight is not None and not busy:
            with self.waiting():
                self._settle(self._flight)

    def is_due(self, step: int) -> bool:
        """Whether to begin a checkpoint after a step."""
        if step % self._every == 0:
            self._due = True
            if self._flight is not None:
                self.savings.late += 1
                if self.savings.late == 1:
                    self._tell(
                        f"the checkpoint of step {step} is late: that of step"
                        f" {self._flight.state.step} is still on its way. It is made at the first"
                        " step after that is there; the manifest counts those that follow"
                    )
        return self._due and self._flight is None

    def begin(self, engine: Engine[Any], state: CheckpointState) -> None:
        """Copy what this process saves, and upload it while the steps go on."""
        with self.waiting():
            self._due = False
            state = replace(state, counters=engine.counters())
            fragments = self._checkpoints.share(engine)
            fits = self._fits(fragments)
            put = self._checkpoints.prepare(state, fragments, copied=fits)
            alone = self._runtime.world_size == 1
            work = partial(self._put_and_commit, state, put) if alone else put
            run = _in_thread if fits else _at_once
            self._flight = _Flight(state, run(work), committing=alone)

    def finish(self) -> None:
        """Wait until none is on its way.

        Raises:
            SupersededError: Another attempt has taken over.
        """
        with self.waiting():
            while self._flight is not None:
                wait([self._flight.work])
                self._settle(self._flight)

    def leave(self) -> None:
        """Let the one on its way arrive where no other process has a hand in it; never fails."""
        if self._flight is not None and self._flight.committing:
            wait([self._flight.work])

    def _settle(self, flight: _Flight) -> None:
        """Take the next step with a checkpoint that no process is at work on any more."""
        outcomes = self._runtime.gather(_outcome(flight.work))
        self._flight = None
        failures = [(rank, one) for rank, one in enumerate(outcomes) if isinstance(one, JobError)]
        if failures:
            self._note_failure(flight.state, *failures[0])
        elif flight.committing:
            self.savings.saved += 1
        else:
            parts = [Part.of(*one) for one in outcomes if isinstance(one, list)]
            commit = partial(self._checkpoints.commit, flight.state, parts)
            work = _in_thread(commit) if self._runtime.is_main else _at_once(lambda: None)
            self._flight = replace(flight, work=work, committing=True)

    def _note_failure(self, state: CheckpointState, rank: int, error: JobError) -> None:
        if isinstance(error, SupersededError):
            raise error
        self.savings.failed += 1
        self._tell(
            f"the checkpoint of step {state.step} could not be saved, by process {rank}: {error}."
            f" The training goes on, and the next one tries again ({self.savings.failed} failed so"
            " far)"
        )

    def _put_and_commit(self, state: CheckpointState, put: Callable[[], Part]) -> None:
        self._checkpoints.commit(state, [put()])

    def _fits(self, fragments: list[Fragment]) -> bool:
        """Whether there is room for a copy; without one the steps wait for the upload."""
        size = sum(value.nbytes for one in fragments for value in one.values.values())
        free = self._free()
        if size * _PART_OF_FREE <= free:
            return True
        if not self._told_memory:
            self._told_memory = True
            self._tell(
                f"steps wait for the upload of checkpoints: a copy of process"
                f" {self._runtime.rank}'s part takes {size / 2**30:.1f} GiB, and"
                f" {free / 2**30:.1f} GiB of memory are free, of which half is left to others"
                " (resources.memory)"
            )
        return False

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count how long something takes that the steps wait for."""
        began = self._clock()
        try:
            yield
        finally:
            self.savings.seconds += self._clock() - began


def _outcome(work: Future[Part | None]) -> list[Any] | JobError | None:
    """What came of some work, as a message to the other processes."""
    try:
        part = work.result()
    except JobError as error:
        return error
    return None if part is None else part.as_list()


def _at_once(work: Callable[[], Part | None]) -> Future[Part | None]:
    """Work that is done when this returns."""
    future: Future[Part | None] = Future()
    try:
        future.set_result(work())
    except BaseException as error:  # noqa: BLE001 - whoever asks for the result gets it
        future.set_exception(error)
    return future


def _in_thread(work: Callable[[], Part | None]) -> Future[Part | None]:
    """Work in a thread that no end of the process waits for."""
    future: Future[Part | None] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - whoever asks for the result gets it
            future.set_exception(error)

    Thread(target=run, name="checkpoint", daemon=True).start()
    return future
