"""The decisions about a run of a pipeline, as one pure function of what is known.

That a step runs is written down before its job is made, on top of the version of the run that the
decision was made from. So of two operators one decides, and after a crash the job of that name is
made, found, or seen to be somebody else's: no step is run twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from mmrlhf_api.constants import Phase, Reason
from mmrlhf_api.pipelines import AlignmentRun
from mmrlhf_api.pipelines.graph import in_order, parents
from mmrlhf_api.pipelines.phases import StepPhase
from mmrlhf_api.pipelines.types import AlignmentRunStatus, PipelineStep, StepStatus
from mmrlhf_operator.kube.timestamps import whole
from mmrlhf_operator.planning.conditions import in_words
from mmrlhf_operator.planning.reasons import RunReason
from mmrlhf_operator.planning.run_actions import CreateJob, PatchJob, RunAction, RunPlan
from mmrlhf_operator.planning.run_steps import decide, ended, follow, manifest, told
from mmrlhf_operator.planning.standing import (
    IN_THE_WAY,
    Standing,
    conditions,
    invalid,
    noted,
    passed_on,
)
from mmrlhf_operator.state.runs import ChildView, RunObserved, RunView

__all__ = ["plan_run"]

_BLOCKED_SECONDS = 10.0
_ACTIVE = frozenset({StepPhase.STARTING, StepPhase.RUNNING})
_LOST = frozenset({StepPhase.FAILED, StepPhase.SKIPPED})


def plan_run(
    view: RunView, observed: RunObserved, *, now: datetime, images: Mapping[str, str]
) -> RunPlan:
    """Return what to do about a run.

    Args:
        view: The run.
        observed: What is known besides.
        now: Time of the decision.
        images: Default image of each kind.
    """
    if view.deleting:
        return RunPlan(status=view.status)  # the garbage collector takes what it owns
    moment = whole(now)
    if view.run is None:
        status = invalid(view, moment, completed=view.status.completion_time)
        return RunPlan(status=status, actions=tuple(_reach(view, status.steps, observed)))
    steps, looks = _steps(view, view.run, observed, moment, images)
    status = _status(view, view.run, steps, moment)
    actions: list[RunAction] = [
        *_reach(view, steps, observed),
        *_creations(view, view.run, steps, observed),
        *looks,
    ]
    blocked = _blocked(steps) is not None
    return RunPlan(
        status=status,
        actions=tuple(actions),
        requeue_after=_BLOCKED_SECONDS if blocked else None,
    )


def _steps(
    view: RunView,
    run: AlignmentRun,
    observed: RunObserved,
    now: datetime,
    images: Mapping[str, str],
) -> tuple[tuple[StepStatus, ...], list[RunAction]]:
    """What becomes of each step, in the order of the spec, and what is to be looked up."""
    before = {one.name: one for one in view.status.steps}
    retries = run.spec.retry > view.status.retried and not view.cancel
    found: dict[str, StepStatus] = {}
    looks: list[RunAction] = []
    for step in in_order(run.spec.steps):
        status = before.get(step.name) or StepStatus(name=step.name, kind=step.kind)
        if retries and status.phase in _LOST:
            status = _anew(status)
        if status.phase in _ACTIVE:
            status = _active(view, status, observed, now)
        elif status.phase is StepPhase.WAITING:
            status = _waiting(view, step, status, found, now)
            if status.reason == RunReason.READY:
                done = {n: one for n, one in found.items() if one.phase is StepPhase.SUCCEEDED}
                decision = decide(
                    step,
                    status,
                    run=run,
                    done=done,
                    observed=observed,
                    images=images,
                    now=now,
                )
                status = decision.status
                if decision.look is not None:
                    looks.append(decision.look)
        found[step.name] = status
    return tuple(found[step.name] for step in run.spec.steps), looks


def _anew(status: StepStatus) -> StepStatus:
    ran = status.job is not None
    return StepStatus(
        name=status.name, kind=status.kind, tries=status.tries + 1 if ran else status.tries
    )


def _active(view: RunView, status: StepStatus, observed: RunObserved, now: datetime) -> StepStatus:
    child = _child(observed, status)
    if child is None and status.uid is None and view.cancel:
        return ended(status, StepPhase.SKIPPED, Reason.CANCELLED, "spec.cancel is true", now=now)
    status = follow(status, child, run_uid=view.uid, now=now)
    conflict = observed.conflicts.get(status.name)
    if child is None and status.phase is StepPhase.STARTING and conflict is not None:
        return told(status, conflict.reason, conflict.message)
    return status


def _child(observed: RunObserved, status: StepStatus) -> ChildView | None:
    """The job of the name that a step's job has now, whoever made it."""
    found = observed.children.get(status.name)
    return found if found is not None and found.name == status.job else None


def _waiting(
    view: RunView,
    step: PipelineStep,
    status: StepStatus,
    found: Mapping[str, StepStatus],
    now: datetime,
) -> StepStatus:
    """What a step waits for; with reason Ready, nothing."""
    if view.cancel:
        return ended(status, StepPhase.SKIPPED, Reason.CANCELLED, "spec.cancel is true", now=now)
    needed = [found[name] for name in parents(step)]
    lost = [one.name for one in needed if one.phase in _LOST]
    if lost:
        message = f"needs {_listed(lost)}, which did not succeed"
        return ended(status, StepPhase.SKIPPED, RunReason.NEED_FAILED, message, now=now)
    missing = [one.name for one in needed if one.phase is not StepPhase.SUCCEEDED]
    if missing:
        return told(status, RunReason.WAITING_FOR_STEPS, f"waits for {_listed(missing)}")
    if view.suspend:
        return told(status, Reason.SUSPENDED_BY_USER, "spec.suspend is true")
    return told(status, RunReason.READY, "")


def _reach(view: RunView, steps: Iterable[StepStatus], observed: RunObserved) -> Iterable[PatchJob]:
    """Pass on to jobs what the run was told: to stop, to go on, or to be no more."""
    kinds = {one.name: one.kind for one in steps}
    for name, child in observed.children.items():
        if child.owner != view.uid or child.ended or name not in kinds:
            continue
        policy, notes = passed_on(view, child)
        if policy:
            yield PatchJob(
                kind=kinds[name], name=child.name, uid=child.uid, policy=policy, annotations=notes
            )


def _creations(
    view: RunView, run: AlignmentRun, steps: Sequence[StepStatus], observed: RunObserved
) -> Iterable[CreateJob]:
    if view.suspend or view.cancel:
        return
    done = {one.name: one for one in steps if one.phase is StepPhase.SUCCEEDED}
    for step, status in zip(run.spec.steps, steps, strict=True):
        if status.phase is StepPhase.STARTING and _child(observed, status) is None:
            body = manifest(step, status, run=run, uid=view.uid, done=done)
            yield CreateJob(step=step.name, manifest=body)


def _status(
    view: RunView,
    run: AlignmentRun,
    steps: tuple[StepStatus, ...],
    now: datetime,
) -> AlignmentRunStatus:
    standing = _standing(view, steps)
    blocked = _blocked(steps)
    if blocked is not None:
        words = f"step {blocked.name}: {blocked.message}"
        standing = replace(standing, blocked=(str(blocked.reason), words))
    running = [one.name for one in steps if one.phase in _ACTIVE]
    succeeded = sum(one.phase is StepPhase.SUCCEEDED for one in steps)
    starts = [one.start_time for one in steps if one.start_time is not None]
    before = view.status
    over = standing.phase in {Phase.SUCCEEDED, Phase.FAILED}
    changes = {
        "phase": standing.phase,
        "reason": str(standing.reason),
        "message": in_words(standing.reason, standing.message),
        "summary": f"{succeeded}/{len(steps)}",
        "running": ", ".join(running) or None,
        "retried": max(before.retried, run.spec.retry),
        "start_time": before.start_time or min(starts, default=None),
        "completion_time": (before.completion_time or now) if over else None,
        "steps": steps,
        "conditions": conditions(view, standing, now),
    }
    return noted(view, changes)


def _standing(view: RunView, steps: Sequence[StepStatus]) -> Standing:
    """Where a run is, and why."""
    phases = {one.phase for one in steps}
    if phases == {StepPhase.SUCCEEDED}:
        cached = [one.name for one in steps if one.cached_from is not None]
        taken = f"; taken from earlier runs: {_listed(cached)}" if cached else ""
        return Standing(Phase.SUCCEEDED, Reason.COMPLETED, f"all steps have succeeded{taken}")
    if not phases & {*_ACTIVE, StepPhase.WAITING}:
        return _lost(view, [one for one in steps if one.phase is StepPhase.FAILED])
    if view.cancel:
        return Standing(Phase.RUNNING, RunReason.STOPPING, "jobs are being cancelled")
    if view.suspend:
        return Standing(Phase.SUSPENDED, Reason.SUSPENDED_BY_USER, "spec.suspend is true")
    return _under_way(steps)


def _lost(view: RunView, failed: Sequence[StepStatus]) -> Standing:
    if view.cancel:
        return Standing(Phase.FAILED, Reason.CANCELLED, "spec.cancel is true")
    first, *others = failed
    words = f"step {first.name} has failed ({first.reason}): {first.message}"
    if others:
        words += f"; so have {_listed([one.name for one in others])}"
    return Standing(Phase.FAILED, RunReason.STEP_FAILED, words)


def _under_way(steps: Sequence[StepStatus]) -> Standing:
    blocked = _blocked(steps)
    if blocked is not None:
        words = f"step {blocked.name}: {blocked.message}"
        return Standing(Phase.RUNNING, str(blocked.reason), words)
    active = [one.name for one in steps if one.phase in _ACTIVE]
    failed = [one.name for one in steps if one.phase is StepPhase.FAILED]
    words = f"running: {_listed(active)}" if active else "what steps read is looked up"
    if failed:
        words += f"; failed: {_listed(failed)}"
    return Standing(Phase.RUNNING, RunReason.STEPS_RUN, words)


def _blocked(steps: Iterable[StepStatus]) -> StepStatus | None:
    return next((one for one in steps if one.reason in IN_THE_WAY), None)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
