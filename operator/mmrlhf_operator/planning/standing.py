"""Where something stands that makes jobs, as its status and conditions say it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from mmrlhf_api import Condition
from mmrlhf_api.constants import Phase, Reason
from mmrlhf_api.pipelines.types import RunCondition
from mmrlhf_api.status import ConditionedStatus
from mmrlhf_operator.planning.conditions import Conditions, in_words
from mmrlhf_operator.planning.reasons import OperatorReason, RunReason
from mmrlhf_operator.state.runs import ANNOTATION_SUSPENDED, ChildView

__all__ = ["IN_THE_WAY", "Owner", "Standing", "conditions", "invalid", "noted", "passed_on"]

IN_THE_WAY = frozenset({OperatorReason.NAME_CONFLICT, OperatorReason.CREATION_REFUSED})
"""Reasons for which a job cannot be made as things are."""

S = TypeVar("S", bound=ConditionedStatus)
S_co = TypeVar("S_co", bound=ConditionedStatus, covariant=True)


class Owner(Protocol[S_co]):
    """What makes jobs, as the API server has it."""

    @property
    def uid(self) -> str:
        """Its identity."""

    @property
    def generation(self) -> int:
        """Version of the spec."""

    @property
    def problem(self) -> str | None:
        """Why it is not valid."""

    @property
    def suspend(self) -> bool:
        """Whether its jobs are to stop for a while."""

    @property
    def cancel(self) -> bool:
        """Whether its jobs are to stop for good."""

    @property
    def status(self) -> S_co:
        """Its status."""


@dataclass(frozen=True)
class Standing:
    """Where it stands.

    Attributes:
        phase: Its phase.
        reason: Why, in one word.
        message: Why, in a sentence.
        blocked: Why a job cannot be made, by reason and sentence; None while none is held up.
    """

    phase: Phase
    reason: str
    message: str
    blocked: tuple[str, str] | None = None


def conditions(owner: Owner[S], standing: Standing, now: datetime) -> tuple[Condition, ...]:
    """Return the conditions of what is valid; the last three are those that kstatus knows."""
    made = Conditions(owner.status.conditions, now=now, generation=owner.generation)
    phase, reason, message = standing.phase, standing.reason, standing.message

    def judge(kind: RunCondition, *, holds: bool) -> None:
        made.set(kind, "True" if holds else "False", reason, message)

    made.set(RunCondition.ACCEPTED, "True", Reason.VALID)
    if standing.blocked is None:
        made.clear(RunCondition.BLOCKED, OperatorReason.WRITE_DONE)
    else:
        made.set(RunCondition.BLOCKED, "True", *standing.blocked)
    if phase is Phase.SUSPENDED:
        judge(RunCondition.SUSPENDED, holds=True)
    else:
        made.clear(RunCondition.SUSPENDED, Reason.RESUMED, "spec.suspend is false again")
    for kind, end in (
        (RunCondition.SUCCEEDED, Phase.SUCCEEDED),
        (RunCondition.FAILED, Phase.FAILED),
    ):
        if phase is end:
            judge(kind, holds=True)
        else:
            made.clear(kind, RunReason.RETRIED, "a retry goes on from what had failed")
    judge(RunCondition.RUNNING, holds=phase is Phase.RUNNING)
    judge(RunCondition.READY, holds=phase is Phase.SUCCEEDED)
    judge(RunCondition.RECONCILING, holds=phase is Phase.RUNNING)
    judge(RunCondition.STALLED, holds=phase is Phase.FAILED)
    return made.all()


def invalid(owner: Owner[S], now: datetime, *, completed: datetime | None) -> S:
    """Return the status of a spec that cannot change and is not valid: over before it began."""
    message = owner.problem or ""
    made = Conditions(owner.status.conditions, now=now, generation=owner.generation)
    made.set(RunCondition.ACCEPTED, "False", Reason.INVALID_SPEC, message)
    for kind in (RunCondition.FAILED, RunCondition.STALLED):
        made.set(kind, "True", Reason.INVALID_SPEC, message)
    for kind in (RunCondition.READY, RunCondition.RECONCILING):
        made.set(kind, "False", Reason.INVALID_SPEC, message)
    changes = {
        "phase": Phase.FAILED,
        "reason": str(Reason.INVALID_SPEC),
        "message": in_words(Reason.INVALID_SPEC, message),
        "completion_time": completed or now,
        "conditions": made.all(),
    }
    return noted(owner, changes)


def noted(owner: Owner[S], changes: Mapping[str, object]) -> S:
    """Return the status with changes, and the generation that it is about if there are any."""
    status = owner.status.model_copy(update=dict(changes))
    if status != owner.status or status.observed_generation != owner.generation:
        status = status.model_copy(update={"observed_generation": owner.generation})
    return status


def passed_on(owner: Owner[S], child: ChildView) -> tuple[dict[str, bool], dict[str, str | None]]:
    """Return what of suspend and cancel a job is to be told, and what is noted on it by that."""
    if owner.cancel:
        return ({} if child.cancel else {"cancel": True}), {}
    if owner.suspend and not child.suspend:
        return {"suspend": True}, {ANNOTATION_SUSPENDED: owner.uid}
    if not owner.suspend and child.suspend and child.suspended_by == owner.uid:
        return {"suspend": False}, {ANNOTATION_SUSPENDED: None}
    return {}, {}
