"""The decisions about a sweep, as one pure function of what is known.

As with runs, that a point runs or is ended is written down before its job is made or cancelled, on
top of the version of the sweep that the decision was made from: of two operators one decides, and a
crash in between repeats what does no harm twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mmrlhf_api.constants import API_VERSION, LABEL_MANAGED_BY, MANAGER, Phase, Reason
from mmrlhf_api.progress import EVALUATED_STEP, is_number
from mmrlhf_api.sweeps.grid import (
    LABEL_POINT,
    LABEL_SWEEP,
    Point,
    in_words,
    job_body,
    job_name,
    points_of,
)
from mmrlhf_api.sweeps.phases import PointPhase
from mmrlhf_api.sweeps.ranking import best_of, losers, noted, on_the_way, settings_of
from mmrlhf_api.sweeps.types import BestSetting, PointStatus, Sweep, SweepStatus
from mmrlhf_api.tracing import handed_on
from mmrlhf_operator.kube.timestamps import whole
from mmrlhf_operator.planning import standing
from mmrlhf_operator.planning.conditions import in_words as reason_in_words
from mmrlhf_operator.planning.reasons import OperatorReason, RunReason, SweepReason
from mmrlhf_operator.planning.run_actions import CreateJob, PatchJob
from mmrlhf_operator.planning.standing import IN_THE_WAY, Standing
from mmrlhf_operator.state.runs import ChildView
from mmrlhf_operator.state.sweep_views import SweepObserved, SweepView

__all__ = ["SweepPlan", "plan_sweep"]

_BLOCKED_SECONDS = 10.0
_MAX_MESSAGE = 400
"""Characters of a point's message: there may be 64 of them in a status."""
_ACTIVE = frozenset({PointPhase.STARTING, PointPhase.RUNNING})
_ENDED = frozenset(PointPhase) - _ACTIVE - {PointPhase.WAITING}


@dataclass(frozen=True, kw_only=True)
class SweepPlan:
    """What to do about a sweep: write its status, then act, in this order.

    Attributes:
        status: Status to write, if it differs from that of the sweep.
        actions: What to do; the step of a job to create is its point.
        requeue_after: Seconds until it is looked at again; None when something will tell.
    """

    status: SweepStatus
    actions: tuple[CreateJob | PatchJob, ...] = ()
    requeue_after: float | None = None


def plan_sweep(view: SweepView, observed: SweepObserved, *, now: datetime) -> SweepPlan:
    """Return what to do about a sweep.

    Args:
        view: The sweep.
        observed: What is known besides.
        now: Time of the decision.
    """
    if view.deleting:
        return SweepPlan(status=view.status)  # the garbage collector takes what it owns
    moment = whole(now)
    if view.sweep is None:
        status = standing.invalid(view, moment, completed=view.status.completion_time)
        return SweepPlan(status=status)
    sweep = view.sweep
    states = _points(view, sweep, observed, moment)
    status = _status(view, sweep, states, moment)
    actions: tuple[CreateJob | PatchJob, ...] = (
        *_reach(view, sweep, states, observed),
        *_creations(view, sweep, states, observed),
    )
    held_up = _blocked(states) is not None
    return SweepPlan(
        status=status, actions=actions, requeue_after=_BLOCKED_SECONDS if held_up else None
    )


def _points(
    view: SweepView, sweep: Sweep, observed: SweepObserved, now: datetime
) -> list[PointStatus]:
    """What becomes of each point, in the order of the grid."""
    before = {one.name: one for one in view.status.points}
    states = [
        _followed(view, sweep, before.get(point.name) or _new(point), observed, now)
        for point in points_of(sweep.spec)
    ]
    rule = sweep.spec.early_stop
    if rule is not None:
        reports = {one.name: one.reports for one in states}
        ended = losers(reports, rule, sweep.spec.objective)
        states = [
            _over(one, PointPhase.STOPPED, SweepReason.STOPPED_EARLY, ended[one.name], now)
            if one.phase is PointPhase.RUNNING and one.name in ended
            else one
            for one in states
        ]
    taken = sum(_takes_place(view, one, observed) for one in states)
    free = sweep.spec.parallelism - taken
    for number, one in enumerate(states):
        if one.phase is not PointPhase.WAITING:
            continue
        states[number], started = _waiting(view, sweep, one, now, is_free=free > 0)
        free -= started
    return states


def _new(point: Point) -> PointStatus:
    return PointStatus(name=point.name, values=in_words(point.values))


def _followed(
    view: SweepView, sweep: Sweep, one: PointStatus, observed: SweepObserved, now: datetime
) -> PointStatus:
    """The status of a point, by what has become of its job."""
    child = _child(observed, one)
    if one.phase is PointPhase.STOPPED:
        # It was done before word of the end had reached it.
        late = child is not None and child.owner == view.uid and child.phase == Phase.SUCCEEDED
        return _done(sweep, one, child, now) if late and child is not None else one
    if one.phase not in _ACTIVE:
        return one
    if child is not None and child.owner == view.uid:
        return _alive(sweep, one.model_copy(update={"uid": child.uid}), child, now)
    return _missing(view, sweep, one, observed, now)


def _missing(
    view: SweepView, sweep: Sweep, one: PointStatus, observed: SweepObserved, now: datetime
) -> PointStatus:
    """The status of a point whose job is not there: not yet, no more, or not its own."""
    kind = sweep.spec.template.kind
    if one.uid is not None:
        message = f"{kind} {one.job} was deleted before it had ended"
        return _over(one, PointPhase.FAILED, RunReason.JOB_DELETED, message, now)
    if _child(observed, one) is not None:
        message = (
            f"there is a {kind} {one.job} that does not belong to this sweep; remove it, or create"
            " the sweep under another name"
        )
        return _told(one, OperatorReason.NAME_CONFLICT, message)
    if view.cancel:
        return _over(one, PointPhase.SKIPPED, Reason.CANCELLED, "spec.cancel is true", now)
    conflict = observed.conflicts.get(one.name)
    return one if conflict is None else _told(one, conflict.reason, conflict.message)


def _alive(sweep: Sweep, one: PointStatus, child: ChildView, now: datetime) -> PointStatus:
    figure = child.progress.get(on_the_way(sweep.spec))
    step = child.progress.get(EVALUATED_STEP.name)
    if is_number(figure) and isinstance(step, int):
        found = noted(one.reports, sweep.spec.early_stop, step=step, value=float(figure))
        one = one.model_copy(update={"reports": found})
    kind = sweep.spec.template.kind
    words = f": {child.message}" if child.message else ""
    if child.phase == Phase.SUCCEEDED:
        return _done(sweep, one, child, now)
    if child.phase == Phase.FAILED:
        reason = child.reason or RunReason.STEP_FAILED
        return _over(one, PointPhase.FAILED, reason, f"{kind} {one.job} has failed{words}", now)
    phase = child.phase or Phase.PENDING
    running = one.model_copy(update={"phase": PointPhase.RUNNING})
    return _told(running, child.reason or phase, f"{kind} {one.job} is {phase}{words}")


def _done(sweep: Sweep, one: PointStatus, child: ChildView, now: datetime) -> PointStatus:
    metric = sweep.spec.objective.metric
    value = child.metrics.get(metric)
    if not is_number(value):
        there = ", ".join(sorted(child.metrics)) or "none"
        message = f"{one.job} has succeeded and left no figure {metric}; it left: {there}"
        return _over(one, PointPhase.SUCCEEDED, SweepReason.NOT_MEASURED, message, now)
    measured = one.model_copy(update={"value": float(value)})
    message = f"{metric} is {value:.6g}"
    return _over(measured, PointPhase.SUCCEEDED, Reason.COMPLETED, message, now)


def _waiting(
    view: SweepView, sweep: Sweep, one: PointStatus, now: datetime, *, is_free: bool
) -> tuple[PointStatus, bool]:
    """What becomes of a point that waits, and whether it begins."""
    if view.cancel:
        return _over(one, PointPhase.SKIPPED, Reason.CANCELLED, "spec.cancel is true", now), False
    if view.suspend:
        return _told(one, Reason.SUSPENDED_BY_USER, "spec.suspend is true"), False
    if not is_free:
        return _told(
            one, SweepReason.WAITING_FOR_TURN, "as many run as spec.parallelism lets"
        ), False
    job = job_name(sweep.metadata.name, one.name)
    changes = {"phase": PointPhase.STARTING, "job": job, "start_time": now}
    message = f"{sweep.spec.template.kind} {job} is made"
    return _told(one.model_copy(update=changes), RunReason.JOB_MADE, message), True


def _takes_place(view: SweepView, one: PointStatus, observed: SweepObserved) -> bool:
    """Whether a point counts against parallelism; one that was ended does until its job is over."""
    if one.phase in _ACTIVE:
        return True
    child = _child(observed, one) if one.phase is PointPhase.STOPPED else None
    return child is not None and child.owner == view.uid and not child.ended


def _child(observed: SweepObserved, one: PointStatus) -> ChildView | None:
    return observed.children.get(one.name) if one.job is not None else None


def _over(
    one: PointStatus, phase: PointPhase, reason: str, message: str, now: datetime
) -> PointStatus:
    return _told(one.model_copy(update={"phase": phase, "end_time": now}), reason, message)


def _told(one: PointStatus, reason: str, message: str) -> PointStatus:
    return one.model_copy(update={"reason": str(reason), "message": message[:_MAX_MESSAGE]})


def _reach(
    view: SweepView, sweep: Sweep, states: Sequence[PointStatus], observed: SweepObserved
) -> Iterator[PatchJob]:
    """Pass on to jobs what the sweep was told, and end those of points that do badly."""
    for one in states:
        child = _child(observed, one)
        if child is None or child.owner != view.uid or child.ended:
            continue
        policy, notes = standing.passed_on(view, child)
        if one.phase is PointPhase.STOPPED:
            policy, notes = ({} if child.cancel else {"cancel": True}), {}
        if policy:
            yield PatchJob(
                kind=sweep.spec.template.kind,
                name=child.name,
                uid=child.uid,
                policy=policy,
                annotations=notes,
            )


def _creations(
    view: SweepView, sweep: Sweep, states: Sequence[PointStatus], observed: SweepObserved
) -> Iterator[CreateJob]:
    if view.suspend or view.cancel:
        return
    for point, one in zip(points_of(sweep.spec), states, strict=True):
        if one.phase is PointPhase.STARTING and _child(observed, one) is None:
            yield CreateJob(step=one.name, manifest=_manifest(view, sweep, point))


def _manifest(view: SweepView, sweep: Sweep, point: Point) -> dict[str, Any]:
    """The job of a point; the same each time."""
    body = job_body(sweep.spec, point, sweep=view.name, namespace=view.namespace)
    body["metadata"] |= {
        "labels": {LABEL_MANAGED_BY: MANAGER, LABEL_SWEEP: view.name, LABEL_POINT: point.name},
        "ownerReferences": [
            {
                "apiVersion": API_VERSION,
                "kind": sweep.kind,
                "name": view.name,
                "uid": view.uid,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }
    if notes := handed_on(sweep.metadata.annotations, view.uid):
        body["metadata"]["annotations"] = notes
    return body


def _status(
    view: SweepView, sweep: Sweep, states: Sequence[PointStatus], now: datetime
) -> SweepStatus:
    values = {one.name: one.value for one in states if one.value is not None}
    best = best_of(
        settings_of(points_of(sweep.spec), values, sweep.spec.objective), sweep.spec.objective
    )
    where = _standing(view, sweep, states, best)
    ended = sum(one.phase in _ENDED for one in states)
    running = [one.name for one in states if one.phase in _ACTIVE]
    starts = [one.start_time for one in states if one.start_time is not None]
    over = where.phase in {Phase.SUCCEEDED, Phase.FAILED}
    changes = {
        "phase": where.phase,
        "reason": str(where.reason),
        "message": reason_in_words(where.reason, where.message),
        "summary": f"{ended}/{len(states)}",
        "running": ", ".join(running) or None,
        "best": best,
        "start_time": view.status.start_time or min(starts, default=None),
        "completion_time": (view.status.completion_time or now) if over else None,
        "points": tuple(states),
        "conditions": standing.conditions(view, where, now),
    }
    return standing.noted(view, changes)


def _standing(
    view: SweepView, sweep: Sweep, states: Sequence[PointStatus], best: BestSetting | None
) -> Standing:
    if all(one.phase in _ENDED for one in states):
        return _ended(sweep, states, best)
    if view.cancel:
        return Standing(Phase.RUNNING, RunReason.STOPPING, "jobs are being cancelled")
    if view.suspend:
        return Standing(Phase.SUSPENDED, Reason.SUSPENDED_BY_USER, "spec.suspend is true")
    blocked = _blocked(states)
    if blocked is not None:
        words = f"point {blocked.name}: {blocked.message}"
        reason = str(blocked.reason)
        return Standing(Phase.RUNNING, reason, words, blocked=(reason, words))
    active = ", ".join(one.name for one in states if one.phase in _ACTIVE)
    return Standing(Phase.RUNNING, SweepReason.POINTS_RUN, f"running: {active}" + _counted(states))


def _ended(sweep: Sweep, states: Sequence[PointStatus], best: BestSetting | None) -> Standing:
    if any(one.reason == Reason.CANCELLED and one.phase is PointPhase.SKIPPED for one in states):
        return Standing(Phase.FAILED, Reason.CANCELLED, "spec.cancel is true")
    metric = sweep.spec.objective.metric
    if best is not None:
        spread = "" if best.spread is None else f" (spread {best.spread:.2g})"
        of = "" if len(best.points) == 1 else f", the mean of {len(best.points)} points{spread}"
        words = f"best is {best.values or 'the template'}: {metric} is {best.value:.6g}{of}"
        return Standing(Phase.SUCCEEDED, Reason.COMPLETED, words + _counted(states))
    failed = next((one for one in states if one.phase is PointPhase.FAILED), states[0])
    if failed.reason == Reason.CANCELLED:
        return Standing(Phase.FAILED, Reason.CANCELLED, "all jobs were cancelled")
    words = (
        f"no point has a figure {metric}; point {failed.name} ({failed.reason}): {failed.message}"
    )
    return Standing(Phase.FAILED, SweepReason.NO_POINT_MEASURED, words)


def _counted(states: Sequence[PointStatus]) -> str:
    """How many points came to a bad end."""
    found = ""
    for phase, word in ((PointPhase.FAILED, "failed"), (PointPhase.STOPPED, "stopped early")):
        names = [one.name for one in states if one.phase is phase]
        if names:
            found += f"; {word}: {', '.join(names)}"
    return found


def _blocked(states: Iterable[PointStatus]) -> PointStatus | None:
    return next((one for one in states if one.phase in _ACTIVE and one.reason in IN_THE_WAY), None)
