"""Kubernetes events: one for each transition between two statuses."""

from __future__ import annotations

from mmrlhf_api import Condition, JobStatus
from mmrlhf_api.constants import ConditionType, Reason
from mmrlhf_operator.actions import Note
from mmrlhf_operator.conditions import find
from mmrlhf_operator.timestamps import format_time

__all__ = ["notes"]

_GOOD = frozenset(
    {
        ConditionType.ACCEPTED,
        ConditionType.DEPENDENCIES_READY,
        ConditionType.SCHEDULED,
        ConditionType.RUNNING,
        ConditionType.SUSPENDED,
        ConditionType.SUCCEEDED,
    }
)
_BAD = frozenset({ConditionType.RESTARTING, ConditionType.FAILED})
_TOLD_WHEN_FALSE = frozenset({ConditionType.ACCEPTED, ConditionType.DEPENDENCIES_READY})
_HARMLESS = frozenset({Reason.WAITING_FOR_JOB})


def notes(before: JobStatus, after: JobStatus) -> tuple[Note, ...]:
    """Return what is worth an event between two statuses of a job."""
    found = []
    for condition in after.conditions:
        old = find(before.conditions, ConditionType(condition.type))
        note = _note(old, condition)
        if note is not None:
            found.append(note)
    return tuple(found)


def _note(old: Condition | None, new: Condition) -> Note | None:
    kind = ConditionType(new.type)
    if old is not None and (old.status, old.reason) == (new.status, new.reason):
        return None
    flipped = old is None or old.status != new.status
    if new.status == "True" and flipped and kind in _GOOD | _BAD:
        return _write(new, warning=kind in _BAD and new.reason != Reason.CANCELLED)
    if new.status != "False":
        return None
    resumed = flipped and old is not None and new.reason == Reason.RESUMED
    stuck = kind is ConditionType.SCHEDULED and new.reason == Reason.UNSCHEDULABLE
    if resumed or stuck or kind in _TOLD_WHEN_FALSE:
        return _write(new, warning=not resumed and new.reason not in _HARMLESS)
    return None


def _write(condition: Condition, *, warning: bool) -> Note:
    return Note(
        type="Warning" if warning else "Normal",
        reason=condition.reason,
        message=condition.message or condition.type,
        key=f"{condition.type}/{condition.status}/{condition.reason}/"
        + format_time(condition.last_transition_time),
    )
