"""Whether steps finish, as far as anybody can tell.

That nothing is heard says nothing of the training: a network policy, a proxy or a name that does
not resolve may keep rank 0's progress from the operator while all is well.
"""

from __future__ import annotations

from mmrlhf_api import JobStatus, RunPolicy
from mmrlhf_api.constants import ConditionType, Reason
from mmrlhf_operator.config import OperatorConfig
from mmrlhf_operator.planning.conditions import holds
from mmrlhf_operator.planning.draft import Draft
from mmrlhf_operator.state.views import Observed, after

__all__ = ["has_reported", "tell_progress"]

_SILENCE_SECONDS = 300.0
"""Silence from the start of an attempt after which it is told; rank 0 reports when it begins."""


def has_reported(status: JobStatus, observed: Observed) -> bool:
    """Whether rank 0 of the current attempt was ever heard, by this operator or one before it."""
    report = observed.progress
    return (report is not None and report.attempt == status.attempt) or holds(
        status.conditions, ConditionType.PROGRESSING
    )


def tell_progress(
    draft: Draft, policy: RunPolicy, observed: Observed, config: OperatorConfig
) -> None:
    """Say that steps finish, or that nobody can tell, and who may know why."""
    running = draft.conditions.find(ConditionType.RUNNING)
    if running is None or running.status != "True":
        return
    report, stall = observed.progress, policy.stall_timeout_seconds
    if report is not None and report.attempt == draft.status.attempt:
        reason = Reason.FIRST_STEP_AHEAD if report.step is None else Reason.STEPS_ADVANCE
        draft.conditions.set(ConditionType.PROGRESSING, "True", reason)
        return
    if draft.conditions.holds(ConditionType.PROGRESSING):
        return  # an operator before this one heard it
    unwatched = "" if stall is None else "; runPolicy.stallTimeoutSeconds is not watched"
    if observed.listening_since is None:
        if stall is not None and config.progress_url is None:
            message = f"the operator takes no progress (progressUrl){unwatched}"
            _tell_silence(draft, message)
        return
    due = after(max(running.last_transition_time, observed.listening_since), _SILENCE_SECONDS)
    if draft.now < due:
        draft.wake(due)
        return
    _tell_silence(
        draft,
        f"nothing is heard of rank 0 of attempt {draft.status.attempt}{unwatched}. The log of"
        " rank 0 says why: the name in progressUrl does not resolve, nobody takes connections"
        " there, a network policy is in between, or its token is refused",
    )


def _tell_silence(draft: Draft, message: str) -> None:
    reason = Reason.NO_PROGRESS_ARRIVES
    draft.conditions.set(ConditionType.PROGRESSING, "Unknown", reason, message)
