"""An attempt told to a server of OpenLineage, beside the job: it ends, fails and delays nothing.

``START`` when the attempt has looked at its inputs; ``COMPLETE`` when the record is in place;
``FAIL`` or ``ABORT`` at any other end. An attempt that was killed could not say so: the next one
says it in its place. Events that were not taken are counted in ``attempts.json``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, Literal, Protocol

from mmrlhf_api import Job
from mmrlhf_jobs.errors import JobError, SpecError, StorageError, SupersededError
from mmrlhf_jobs.reporting.events import Tell
from mmrlhf_jobs.reporting.manifest import Attempts, Clock, environment, utc_now
from mmrlhf_jobs.reporting.openlineage.receiver import Receiver, ReceiverSettings, read_settings
from mmrlhf_jobs.reporting.openlineage.run_events import Attempt, end_event, start_event
from mmrlhf_jobs.reporting.trackers.aside import Aside
from mmrlhf_jobs.storage.folders import FileEntry

__all__ = ["AttemptTold", "NobodyTold", "OpenLineage", "attempt_told_by"]

PATIENCE: Final = 5.0
"""Seconds that events have at the end of a process, if they were not taken by then."""
_KILLED: Final = "Killed"


class AttemptTold(Protocol):
    """Takes what becomes of an attempt. Never fails the job, and never waits but in `close`."""

    def begin(self, job: Job, *, run: str, attempts: Attempts, lineage: Mapping[str, Any]) -> None:
        """An attempt has begun.

        Args:
            job: The job.
            run: URI of its run.
            attempts: The record that has noted it.
            lineage: What it reads.
        """

    def complete(self, left: Mapping[str, FileEntry]) -> None:
        """Its results are in place, and it has noted its end.

        Args:
            left: What it left, by path below its run.
        """

    def fail(self, error: BaseException, *, stopped: bool) -> None:
        """It ends without.

        Args:
            error: Why.
            stopped: Whether it was asked to.
        """

    def close(self) -> None:
        """Let what was not yet taken be taken, for `PATIENCE` seconds at most; count the rest."""


class NobodyTold:
    """Nobody is told."""

    def begin(self, job: Job, *, run: str, attempts: Attempts, lineage: Mapping[str, Any]) -> None:
        """Nothing."""

    def complete(self, left: Mapping[str, FileEntry]) -> None:
        """Nothing."""

    def fail(self, error: BaseException, *, stopped: bool) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def attempt_told_by(environ: Mapping[str, str] = os.environ, *, tell: Tell) -> AttemptTold:
    """Who is told of the attempt of this process: rank 0 tells it for all.

    Args:
        environ: Names the server (`read_settings`).
        tell: Takes sentences for whoever runs the job.
    """
    if environ.get("RANK", "0") != "0":
        return NobodyTold()
    try:
        settings = read_settings(environ)
    except SpecError as error:
        tell(f"nobody is told by OpenLineage; the job goes on: {error}")
        return NobodyTold()
    return NobodyTold() if settings is None else OpenLineage(settings, tell=tell)


class OpenLineage:
    """Tells one attempt to one server.

    Args:
        settings: The server.
        tell: Takes sentences for whoever runs the job.
        clock: Tells the time.
        patience: See `PATIENCE`.
    """

    def __init__(
        self,
        settings: ReceiverSettings,
        *,
        tell: Tell,
        clock: Clock = utc_now,
        patience: float = PATIENCE,
    ) -> None:
        self._settings = settings
        self._tell = tell
        self._clock = clock
        self._patience = patience
        self._aside: Aside | None = None
        self._attempt: Attempt | None = None
        self._attempts: Attempts | None = None
        self._ended = self._may_note = False

    def begin(self, job: Job, *, run: str, attempts: Attempts, lineage: Mapping[str, Any]) -> None:
        """See `AttemptTold`."""
        self._guarded(lambda: self._begin(job, run, attempts, lineage))

    def complete(self, left: Mapping[str, FileEntry]) -> None:
        """See `AttemptTold`."""
        self._may_note = True
        self._guarded(lambda: self._end("COMPLETE", None, left))

    def fail(self, error: BaseException, *, stopped: bool) -> None:
        """See `AttemptTold`."""
        # A store that is away would be waited for once more.
        self._may_note = not isinstance(error, StorageError | SupersededError)
        aborted = stopped or isinstance(error, SupersededError)
        message = str(error) or type(error).__name__
        self._guarded(lambda: self._end("ABORT" if aborted else "FAIL", message, None))

    def close(self) -> None:
        """See `AttemptTold`."""
        if self._aside is None or self._attempts is None:
            return
        counts = self._aside.close(time.monotonic() + self._patience, succeeded=True)
        if counts["lost"] and self._may_note:
            try:
                self._attempts.note(openLineage={"taken": counts["taken"], "lost": counts["lost"]})
            except JobError:
                return

    def _begin(self, job: Job, run: str, attempts: Attempts, lineage: Mapping[str, Any]) -> None:
        *before, record = attempts.begun
        self._attempts = attempts
        self._attempt = Attempt(
            job=job,
            namespace=self._settings.namespace,
            run=run,
            record=record,
            lineage=lineage,
            environment=environment(),
            parent=self._settings.parent,
        )
        self._aside = Aside(
            Receiver(self._settings),
            tell=self._tell,
            what="events",
            kept="events; attempts.json and manifest.json say the same",
        )
        if before and before[-1].get("exit") == _KILLED:
            # What it has read is in no record; its START has said it.
            killed = replace(self._attempt, record=before[-1], lineage={})
            at, why = str(record["startedAt"]), "nothing has written down how this attempt ended"
            self._put(end_event(killed, "ABORT", time=at, message=why))
        self._put(start_event(self._attempt))
        self._aside.start()

    def _end(
        self,
        kind: Literal["COMPLETE", "FAIL", "ABORT"],
        message: str | None,
        left: Mapping[str, FileEntry] | None,
    ) -> None:
        if self._attempt is None or self._ended:
            return
        self._ended = True
        now = self._clock().isoformat()
        self._put(end_event(self._attempt, kind, time=now, message=message, left=left))

    def _put(self, event: Mapping[str, Any]) -> None:
        assert self._aside is not None
        self._aside.put(event, 0.0)

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - a mistake of ours must cost no training
            self._tell(f"OpenLineage is not told; the job goes on: {type(error).__name__}: {error}")
