"""The decisions about a job, as one pure function of what is known.

``plan`` is level-triggered: it asks not what happened but what is, and what ought to be. A plan
that was carried out leads to one that asks for nothing.
"""

from __future__ import annotations

from datetime import datetime

from mmrlhf_api import Job
from mmrlhf_api.constants import ConditionType, Phase, Reason
from mmrlhf_operator.config import OperatorConfig
from mmrlhf_operator.planning.acceptance import Acceptance, accept
from mmrlhf_operator.planning.actions import Check, Plan
from mmrlhf_operator.planning.attempts import (
    begin,
    clear_previous_attempt,
    create_missing,
    describe,
)
from mmrlhf_operator.planning.deadlines import next_deadline
from mmrlhf_operator.planning.dependencies import taken
from mmrlhf_operator.planning.done import with_done
from mmrlhf_operator.planning.draft import Draft
from mmrlhf_operator.planning.endings import cancel, clean_up, fail, succeed, succeeded
from mmrlhf_operator.planning.failures import Failure, Verdict, judge
from mmrlhf_operator.planning.queueing import (
    admitted,
    disband,
    eviction,
    give_place_back,
    leave,
    tell_ready,
)
from mmrlhf_operator.planning.reasons import OperatorReason
from mmrlhf_operator.planning.refusals import give_back, refusal
from mmrlhf_operator.planning.removal import remove, stuck_words
from mmrlhf_operator.rendering.names import pod_name, pod_stem
from mmrlhf_operator.state.views import JobView, Observed, after

__all__ = ["plan"]

_UNDECIDED_SECONDS = 5.0


def plan(job: JobView, observed: Observed, *, now: datetime, config: OperatorConfig) -> Plan:
    """Return what to do about a job.

    Args:
        job: The job.
        observed: The observed cluster state.
        now: Time of the decision.
        config: The operator's configuration.
    """
    draft = Draft(job, now)
    if job.deleting:
        pass  # the garbage collector takes what it owns
    elif job.ended:
        clean_up(draft, observed, config)
    else:
        _decide(draft, observed, config)
        if job.accepted is not None:
            disband(draft, job.accepted, observed)
    return draft.plan()


def _decide(draft: Draft, observed: Observed, config: OperatorConfig) -> None:
    job = draft.view
    _tell_blocked(draft, observed)
    acceptance = accept(job, observed, now=draft.now, config=config)
    if job.cancel:
        _cancel(draft, acceptance, observed)
        return
    _tell_acceptance(draft, acceptance)
    if job.suspend:
        _suspend(draft, acceptance, observed, config)
        return
    _resume(draft)
    if acceptance.job is None:
        _wait(draft, acceptance, observed)
    else:
        _run(draft, acceptance, acceptance.job, observed, config)


def _tell_blocked(draft: Draft, observed: Observed) -> None:
    blocked = observed.blocked
    if blocked is None:
        draft.conditions.clear(ConditionType.BLOCKED, OperatorReason.WRITE_DONE)
    else:
        draft.conditions.set(ConditionType.BLOCKED, "True", blocked.reason, blocked.message)


def _tell_acceptance(draft: Draft, acceptance: Acceptance) -> None:
    if acceptance.check_due and draft.view.job is not None:
        draft.actions.append(Check(job=draft.view.job))
    else:
        draft.wake(acceptance.retry_at)
    finding = acceptance.finding
    if finding is None:
        draft.conditions.set(ConditionType.ACCEPTED, "True", Reason.VALID)
    elif finding.reason != OperatorReason.CHECKING:
        draft.conditions.set(ConditionType.ACCEPTED, "False", finding.reason, finding.message)
    elif draft.conditions.find(ConditionType.ACCEPTED) is None:
        # Looked at again, a job keeps what was said of it until something else is known.
        draft.conditions.set(ConditionType.ACCEPTED, "Unknown", finding.reason, finding.message)


def _wait(draft: Draft, acceptance: Acceptance, observed: Observed) -> None:
    """Nothing may start yet."""
    waits = acceptance.waits
    if waits is not None:
        draft.conditions.set(ConditionType.DEPENDENCIES_READY, "False", waits.reason, waits.message)
        draft.enter(Phase.PENDING, waits.reason, waits.message)
        return
    told = draft.conditions.find(ConditionType.ACCEPTED)
    assert told is not None  # acceptance was told
    phase = draft.view.status.phase
    if observed.config_map is None or phase is None:
        phase = Phase.PENDING
    draft.enter(phase, told.reason, told.message)


def _cancel(draft: Draft, acceptance: Acceptance, observed: Observed) -> None:
    job = acceptance.job or draft.view.job
    if job is not None and _has_succeeded(draft, job, observed):
        succeed(draft, job, observed)  # the user was too late
    else:
        cancel(draft, job, observed)


def _has_succeeded(draft: Draft, job: Job, observed: Observed) -> bool:
    total = job.spec.resources.nodes
    return succeeded(with_done(draft, observed), attempt=draft.status.attempt, total=total)


def _suspend(
    draft: Draft, acceptance: Acceptance, observed: Observed, config: OperatorConfig
) -> None:
    status = draft.view.status
    job = acceptance.job or draft.view.job
    total = job.spec.resources.nodes if job is not None else 0
    if job is not None and _has_succeeded(draft, job, observed):
        succeed(draft, job, observed)
        return
    if observed.pods_of(status.attempt):
        # What resumes is a new attempt: no process of this one may meet it.
        draft.change(attempt=status.attempt + 1)
    draft.change(pending_since=None)
    draft.end_attempt(Reason.SUSPENDED_BY_USER)
    draft.conditions.clear(ConditionType.RESTARTING, Reason.SUSPENDED_BY_USER)
    draft.conditions.set(ConditionType.SUSPENDED, "True", Reason.SUSPENDED_BY_USER)
    stuck = stuck_words(observed.pods, draft.now)
    if stuck is not None:
        draft.conditions.set(ConditionType.SCHEDULED, "False", Reason.PODS_REMAIN, stuck)
    draft.enter(Phase.SUSPENDED, Reason.SUSPENDED_BY_USER, stuck or "")
    draft.count((), total=total)
    remove(draft, observed.pods, observed, config)
    leave(draft, observed)


def _resume(draft: Draft) -> None:
    suspended = draft.conditions.find(ConditionType.SUSPENDED)
    if suspended is None or suspended.status != "True":
        return
    start = draft.view.status.start_time
    if start is not None:
        # Time spent suspended does not count against the active deadline.
        draft.change(start_time=start + (draft.moment - suspended.last_transition_time))
    draft.conditions.set(ConditionType.SUSPENDED, "False", Reason.RESUMED)


def _run(
    draft: Draft, acceptance: Acceptance, job: Job, observed: Observed, config: OperatorConfig
) -> None:
    total = job.spec.resources.nodes
    observed = with_done(draft, observed)
    found = taken(job)
    if found or draft.conditions.find(ConditionType.DEPENDENCIES_READY) is not None:
        draft.conditions.set(
            ConditionType.DEPENDENCIES_READY, "True", Reason.DEPENDENCIES_SUCCEEDED, found
        )
    if _has_succeeded(draft, job, observed):
        succeed(draft, job, observed)
        return
    failure = eviction(draft, job, observed) or _find_failure(draft, job, observed, config)
    if failure is not None:
        fail(draft, job, failure, observed, config)
        return
    if not clear_previous_attempt(draft, job, observed, config):
        give_place_back(draft, observed)
        tell_ready(draft, job, observed)
        return
    if observed.namesake and observed.config_map is None and not observed.pods:
        # From here on, as nothing was made yet: of two jobs of one name, the later one gives way.
        draft.change(pod_stem=pod_stem(draft.view.kind, draft.view.name, job.spec))
    if not admitted(draft, acceptance, job, observed, config):
        return
    begin(draft)
    if draft.view.status.phase is not Phase.RUNNING:
        draft.wait_from_now()
    if not give_back(draft, observed, config, total=total):
        create_missing(draft, acceptance, job, observed, config)
    describe(draft, acceptance, job, observed, config)
    tell_ready(draft, job, observed)
    draft.report(observed.progress, seconds=config.progress_seconds)


def _find_failure(
    draft: Draft, job: Job, observed: Observed, config: OperatorConfig
) -> Failure | None:
    status = draft.status
    total = job.spec.resources.nodes
    there = {entry.name for entry in observed.pods_of(status.attempt)}
    expected = [pod_name(draft.stem, attempt=status.attempt, index=index) for index in range(total)]
    # All pods were there once if all had nodes; before that, a missing one is yet to be created.
    complete = draft.conditions.holds(ConditionType.SCHEDULED)
    verdict = Verdict()
    if refusal(draft, observed, total=total) is None:  # or else its pods go since they are told to
        verdict = judge(
            observed,
            attempt=status.attempt,
            missing=[name for name in expected if name not in there] if complete else [],
            total=total,
            now=draft.now,
            settle=config.deadlines.settle,
        )
    if verdict.decide_at is not None:
        draft.wake(min(verdict.decide_at, after(draft.now, _UNDECIDED_SECONDS)))
        return None
    if verdict.failure is not None:
        return verdict.failure
    deadline = next_deadline(job.spec.run_policy, status, observed, config.deadlines)
    if deadline is None:
        return None
    if draft.now >= deadline.due:
        return deadline.failure()
    draft.wake(deadline.due)
    return None
