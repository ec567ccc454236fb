"""Events derived from conditions, one for each transition.

They are read from the status alone, not from how it came about: an operator that died between
writing a status and telling of it, or whose answer was lost, tells it with its next look.
"""

from __future__ import annotations

from mmrlhf_api import Condition, JobStatus
from mmrlhf_api.constants import ConditionType, Reason
from mmrlhf_operator.kube.timestamps import format_time
from mmrlhf_operator.planning.actions import Note
from mmrlhf_operator.planning.reasons import OperatorReason

__all__ = ["notes"]

_GOOD = frozenset(
    {
        ConditionType.ACCEPTED,
        ConditionType.DEPENDENCIES_READY,
        ConditionType.SCHEDULED,
        ConditionType.RUNNING,
        ConditionType.SUSPENDED,
        ConditionType.SUCCEEDED,
        ConditionType.PROMOTED,
    }
)
_BAD = frozenset({ConditionType.RESTARTING, ConditionType.BLOCKED, ConditionType.FAILED})
_TOLD_WHEN_FALSE = frozenset(
    {ConditionType.ACCEPTED, ConditionType.DEPENDENCIES_READY, ConditionType.PROMOTED}
)
_IN_THE_WAY = frozenset({Reason.UNSCHEDULABLE, Reason.PODS_REMAIN, OperatorReason.CREATION_REFUSED})
"""What someone must do something about before the pods of an attempt have nodes."""
_HARMLESS = frozenset({Reason.RESUMED, Reason.WAITING_FOR_JOB})
_OF_ATTEMPTS = frozenset(
    {
        ConditionType.SCHEDULED,
        ConditionType.RUNNING,
        ConditionType.PROGRESSING,
        ConditionType.RESTARTING,
    }
)
"""What begins anew with each attempt, which may be in the same second."""


def notes(status: JobStatus) -> tuple[Note, ...]:
    """Return what is worth an event in the status of a job, in the order of its conditions."""
    found = (_note(condition, status.attempt) for condition in status.conditions)
    return tuple(note for note in found if note is not None)


def _note(condition: Condition, attempt: int) -> Note | None:
    kind = ConditionType(condition.type)
    reason = condition.reason
    if condition.status == "True" and kind in _GOOD | _BAD:
        warns = kind in _BAD and reason != Reason.CANCELLED
    elif reason == Reason.NO_PROGRESS_ARRIVES:
        warns = True
    elif condition.status == "False" and (
        kind in _TOLD_WHEN_FALSE
        or (kind is ConditionType.SCHEDULED and reason in _IN_THE_WAY)
        or (kind is ConditionType.SUSPENDED and reason == Reason.RESUMED)
    ):
        warns = reason not in _HARMLESS
    else:
        return None
    key = [kind.value, condition.status, reason, format_time(condition.last_transition_time)]
    if kind in _OF_ATTEMPTS:
        key.append(str(attempt))
    return Note(
        type="Warning" if warns else "Normal",
        reason=reason,
        message=condition.message or kind.value,
        at=condition.last_transition_time,
        key="/".join(key),
    )
