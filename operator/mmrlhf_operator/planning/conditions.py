"""Conditions of a job: a closed set, changed one at a time, with honest times."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Literal

from mmrlhf_api import Condition
from mmrlhf_api.constants import ConditionType, Reason
from mmrlhf_api.pipelines.types import RunCondition

__all__ = ["Conditions", "State", "find", "holds", "in_words"]

_MAX_MESSAGE = 4096
_WORDS: Mapping[str, str] = {
    Reason.VALID: "the spec is valid and was accepted",
    Reason.ALL_PODS_SCHEDULED: "all pods have nodes",
    Reason.ALL_PODS_RUNNING: "all pods run",
    Reason.STEPS_ADVANCE: "steps finish",
    Reason.FIRST_STEP_AHEAD: "no step of this attempt has finished yet",
    Reason.SUSPENDED_BY_USER: "runPolicy.suspend is true",
    Reason.RESUMED: "runPolicy.suspend is false again",
    Reason.COMPLETED: "the job has succeeded",
    Reason.CANCELLED: "runPolicy.cancel is true",
    Reason.DEPENDENCIES_SUCCEEDED: "the jobs that this one names have succeeded",
}
_ORDER: Mapping[str, int] = {
    kind.value: position
    for position, kind in enumerate(dict.fromkeys((*ConditionType, *RunCondition)))
}

State = Literal["True", "False", "Unknown"]


def find(conditions: Iterable[Condition], kind: StrEnum) -> Condition | None:
    """Return the condition of a type."""
    return next((entry for entry in conditions if entry.type == kind), None)


def holds(conditions: Iterable[Condition], kind: StrEnum) -> bool:
    """Whether the condition of a type is True."""
    found = find(conditions, kind)
    return found is not None and found.status == "True"


def in_words(reason: str, message: str) -> str:
    """Return the message that goes with a reason: the given one, cut, or else a standing one.

    There is always a message; API servers of old, built with a newer Go, even refuse an empty one.
    """
    return message[:_MAX_MESSAGE] or _WORDS.get(reason, reason)


class Conditions:
    """The conditions of one status while a decision about it is made.

    ``lastTransitionTime`` moves only when the status of a condition does, and a condition that says
    what it said is left as it is.

    Args:
        before: Conditions so far.
        now: Time of the decision, in whole seconds.
        generation: Generation of the spec that the decision is about.
    """

    def __init__(self, before: Iterable[Condition], *, now: datetime, generation: int) -> None:
        self._entries = {entry.type: entry for entry in before}
        self._now = now
        self._generation = generation
        self._ordered: tuple[Condition, ...] | None = None

    def set(self, kind: StrEnum, status: State, reason: str, message: str = "") -> None:
        """Say something about the job; see `in_words` for the message."""
        message = in_words(reason, message)
        old = self._entries.get(kind)
        changed = old is None or old.status != status
        if (
            old is not None
            and not changed
            and (old.reason, old.message) == (reason, message)
            # A newer generation alone is worth no write but where it was judged.
            and (kind != ConditionType.ACCEPTED or old.observed_generation == self._generation)
        ):
            return
        self._ordered = None
        self._entries[kind] = Condition(
            type=kind.value,
            status=status,
            reason=reason,
            message=message,
            last_transition_time=(
                self._now if old is None or changed else old.last_transition_time
            ),
            observed_generation=self._generation,
        )

    def clear(self, kind: StrEnum, reason: str, message: str = "") -> None:
        """Say that something does not hold any more, if it was ever spoken of."""
        old = self._entries.get(kind)
        if old is not None and old.status != "False":
            self.set(kind, "False", reason, message)

    def holds(self, kind: StrEnum) -> bool:
        """Whether the condition of a type is True."""
        return holds(self._entries.values(), kind)

    def find(self, kind: StrEnum) -> Condition | None:
        """Return the condition of a type."""
        return self._entries.get(kind)

    def all(self) -> tuple[Condition, ...]:
        """Return the conditions in the order of a job's life; the same tuple until one changes."""
        if self._ordered is None:
            entries = self._entries.values()
            self._ordered = tuple(
                sorted(entries, key=lambda entry: _ORDER.get(entry.type, len(_ORDER)))
            )
        return self._ordered
