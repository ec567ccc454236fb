"""Events about the schedule of a pipeline, read from its status alone; see `notes`."""

from __future__ import annotations

from collections.abc import Iterator

from mmrlhf_api.schedule import ScheduleStatus, SkippedRun, StartedRun
from mmrlhf_operator.kube.timestamps import format_time
from mmrlhf_operator.planning.actions import Note
from mmrlhf_operator.planning.times import MANY_MISSED

__all__ = ["schedule_notes"]

_HARMLESS = frozenset({"Unchanged", "StillRunning", "Replacing"})


def schedule_notes(status: ScheduleStatus) -> tuple[Note, ...]:
    """Return what is worth an event, the oldest first."""
    skipped = status.last_skip
    found = [] if skipped is None else [_skipped(skipped)]
    if status.last_run is not None:
        found += _started(status.last_run)
    return tuple(sorted(found, key=lambda note: note.at))


def _skipped(skipped: SkippedRun) -> Note:
    time = format_time(skipped.time)
    return Note(
        type="Normal" if skipped.reason in _HARMLESS else "Warning",
        reason=skipped.reason,
        message=f"no run for {time}: {skipped.message}",
        at=skipped.time,
        key=f"skipped/{time}/{skipped.reason}",
    )


def _started(run: StartedRun) -> Iterator[Note]:
    if run.missed:
        many = f"more than {MANY_MISSED}" if run.missed > MANY_MISSED else str(run.missed)
        yield Note(
            type="Warning",
            reason="MissedTimes",
            message=f"{many} times before that of {run.name} were missed, which it makes up for",
            at=run.time,
            key=f"missed/{run.name}",
        )
    yield Note(
        type="Normal",
        reason="RunStarted",
        message=f"{run.name} was started by {run.cause}",
        at=run.time,
        key=f"started/{run.name}",
    )
