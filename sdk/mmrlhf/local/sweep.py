"""A sweep on this machine: its points one after another, what they came to in a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mmrlhf.errors import LocalRunError, RunStoppedError
from mmrlhf.local.events import Event, Step
from mmrlhf.local.folders import default_state_dir
from mmrlhf.local.run import RunResult, run
from mmrlhf.local.state import read_status, write_state
from mmrlhf.telling import Tell, log_line
from mmrlhf_api.constants import Phase
from mmrlhf_api.kinds import KINDS, Job
from mmrlhf_api.progress import EVALUATED_STEP, is_number
from mmrlhf_api.runs import laptop_uid
from mmrlhf_api.sweeps.grid import Point, in_words, job_body, points_of
from mmrlhf_api.sweeps.phases import PointPhase
from mmrlhf_api.sweeps.ranking import best_of, losers, noted, on_the_way, settings_of
from mmrlhf_api.sweeps.types import PointStatus, Sweep, SweepStatus

__all__ = ["run_sweep", "sweep_folder"]

_KEPT = frozenset({PointPhase.SUCCEEDED, PointPhase.STOPPED})
Run = Callable[..., RunResult]


class _EndedEarly(Exception):  # noqa: N818 - no error
    """The point does badly."""


def sweep_folder(sweep: Sweep, state_dir: str | Path | None = None) -> Path:
    """Return the folder where a sweep on this machine keeps its state."""
    folder = default_state_dir() if state_dir is None else Path(state_dir)
    return folder / "sweeps" / f"{sweep.metadata.namespace}-{sweep.metadata.name}"


def run_sweep(
    sweep: Sweep,
    *,
    fresh: bool = False,
    state_dir: str | Path | None = None,
    on_event: Callable[[Event], None] = lambda event: None,  # noqa: ARG005
    tell: Tell = log_line,
    run_job: Run = run,
) -> Sweep:
    """Run the points of a sweep one after another, and return it with its status.

    The same sweep goes on where it was: points that have ended are not run again, unless what they
    compute has changed. The status is in ``sweep.json`` of `sweep_folder` after each point.

    Args:
        sweep: What was read from a file.
        fresh: Run all points anew.
        state_dir: Folder for logs and progress; by default ``~/.local/state/mmrlhf``.
        on_event: Takes each event of the jobs.
        tell: Takes lines about the sweep itself.
        run_job: Runs a job; by default `mmrlhf.local.run.run`.

    Raises:
        MachineError: This machine lacks what the jobs need.
        LocalRunError: Its state cannot be written.
        RunStoppedError: It was asked to stop, and did.
    """
    file = sweep_folder(sweep, state_dir) / "sweep.json"
    spec, points = sweep.spec, points_of(sweep.spec)
    jobs = {point.name: _job(sweep, point) for point in points}
    uids = {name: laptop_uid(job) for name, job in jobs.items()}
    before = {} if fresh else _before(file)
    states = {
        point.name: _state(point, before.get(uids[point.name]), uids[point.name])
        for point in points
    }
    for number, point in enumerate(points, start=1):
        state = states[point.name]
        if state.phase in _KEPT:
            tell(f"point {point.name} ({state.values}) has ended before: {state.message}")
            continue
        tell(f"point {point.name}, {number} of {len(points)}: {state.values}")
        course = _Course(sweep, point.name, states, on_event)
        began = datetime.now(UTC).replace(microsecond=0)
        changes: dict[str, Any] = {"job": jobs[point.name].metadata.name, "start_time": began}
        try:
            result = run_job(
                jobs[point.name],
                fresh=fresh,
                state_dir=state_dir,
                on_event=course.note,
                tell=tell,
            )
        except _EndedEarly as why:
            changes |= {"phase": PointPhase.STOPPED, "message": str(why)}
        except RunStoppedError:
            raise
        except LocalRunError as error:
            changes |= {"phase": PointPhase.FAILED, "message": str(error)[:400]}
        else:
            changes |= _result(spec.objective.metric, result.metrics)
        changes["end_time"] = datetime.now(UTC).replace(microsecond=0)
        states[point.name] = states[point.name].model_copy(update=changes)
        tell(f"point {point.name}: {states[point.name].message}")
        write_state(file, _with_status(sweep, states))
    found = _with_status(sweep, states)
    write_state(file, found)
    return found


class _Course:
    """Follows a job, and ends it when the rule does."""

    def __init__(
        self,
        sweep: Sweep,
        name: str,
        states: dict[str, PointStatus],
        on_event: Callable[[Event], None],
    ) -> None:
        self._spec = sweep.spec
        self._name = name
        self._states = states
        self._on_event = on_event

    def note(self, event: Event) -> None:
        """Take an event.

        Raises:
            _EndedEarly: The rule ends the job.
        """
        self._on_event(event)
        rule = self._spec.early_stop
        if rule is None or not isinstance(event, Step):
            return
        value = event.figures.get(on_the_way(self._spec))
        step = event.figures.get(EVALUATED_STEP.name)
        if value is None or step is None:
            return
        own = self._states[self._name]
        reports = noted(own.reports, rule, step=int(step), value=value)
        self._states[self._name] = own.model_copy(update={"reports": reports})
        ended = losers(
            {name: one.reports for name, one in self._states.items()}, rule, self._spec.objective
        )
        if self._name in ended:
            raise _EndedEarly(ended[self._name])


def _job(sweep: Sweep, point: Point) -> Job:
    body = job_body(
        sweep.spec, point, sweep=sweep.metadata.name, namespace=sweep.metadata.namespace
    )
    return KINDS[body["kind"]].model.model_validate(body, by_alias=True, by_name=False)


def _state(point: Point, before: PointStatus | None, uid: str) -> PointStatus:
    fresh = PointStatus(name=point.name, values=in_words(point.values), uid=uid)
    if before is None or before.phase not in _KEPT:
        return fresh
    return before.model_copy(update={"name": fresh.name, "values": fresh.values})


def _before(file: Path) -> dict[str, PointStatus]:
    """Points of an earlier run by what they compute; none where there was no run."""
    status = read_status(file, SweepStatus)
    points = () if status is None else status.points
    return {one.uid: one for one in points if one.uid is not None}


def _result(metric: str, metrics: Mapping[str, object]) -> dict[str, Any]:
    value = metrics.get(metric)
    if is_number(value):
        message = f"{metric} is {value:.6g}"
        return {"phase": PointPhase.SUCCEEDED, "value": float(value), "message": message}
    there = ", ".join(sorted(metrics)) or "none"
    message = f"the job has succeeded and left no figure {metric}; it left: {there}"
    return {"phase": PointPhase.SUCCEEDED, "message": message}


def _with_status(sweep: Sweep, states: Mapping[str, PointStatus]) -> Sweep:
    values = {name: one.value for name, one in states.items() if one.value is not None}
    objective = sweep.spec.objective
    best = best_of(settings_of(points_of(sweep.spec), values, objective), objective)
    waiting = sum(one.phase is PointPhase.WAITING for one in states.values())
    phase = Phase.RUNNING if waiting else Phase.SUCCEEDED if best is not None else Phase.FAILED
    status = SweepStatus(
        phase=phase,
        summary=f"{len(states) - waiting}/{len(states)}",
        best=best,
        points=tuple(states.values()),
    )
    return sweep.model_copy(update={"status": status})
