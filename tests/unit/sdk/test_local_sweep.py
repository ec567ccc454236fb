"""A sweep on this machine: what runs, what ends early, and what a second start finds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmrlhf.errors import LocalRunError, RunStoppedError
from mmrlhf.local.events import Event, parse_event
from mmrlhf.local.run import RunResult
from mmrlhf.local.sweep import run_sweep, sweep_folder
from mmrlhf_api import Job
from mmrlhf_api.progress import EVALUATED_STEP
from mmrlhf_api.sweeps.ranking import on_the_way
from mmrlhf_api.sweeps.types import Sweep
from mmrlhfctl.text.sweeps import sweep_lines
from tests.unit.sweeps.specimens import sweep

METRIC = "afterPreferenceAccuracy"
GRID = [{"field": "objective.beta.w", "values": [0.0, 1.0, 2.0, 3.0]}]


class Machine:
    """Runs jobs by pretending to: their figure is that of their w."""

    def __init__(self, figures: dict[float, Any]) -> None:
        self.figures = figures
        self.ran: list[str] = []
        self.ended: list[str] = []

    def run(self, job: Job, *, on_event: Callable[[Event], None], **_: Any) -> RunResult:
        name = job.metadata.name
        self.ran.append(name)
        figure = self.figures[job.spec.objective.beta.w]  # type: ignore[attr-defined]
        if isinstance(figure, Exception):
            raise figure
        told = {EVALUATED_STEP.name: 10, on_the_way(sweep().spec): figure}
        event = parse_event(json.dumps({"event": "step", "step": 11, **told}))
        assert event is not None
        on_event(event)
        self.ended.append(name)
        return RunResult("out", {METRIC: figure} if figure else {"loss": 1.0})


def start(machine: Machine, folder: Path, one: Sweep, **options: Any) -> Sweep:
    return run_sweep(one, state_dir=folder, tell=lambda _: None, run_job=machine.run, **options)


def phases(found: Sweep) -> list[str]:
    assert found.status is not None
    return [one.phase.value for one in found.status.points]


def test_points_run_in_turn_the_worst_end_early_and_the_best_is_named(tmp_path: Path) -> None:
    machine = Machine({0.0: 0.5, 1.0: 0.9, 2.0: 0.1, 3.0: LocalRunError("out of memory")})
    one = sweep(parameters=GRID, earlyStop={"steps": [10], "atLeast": 2})
    found = start(machine, tmp_path, one)
    assert machine.ran == ["tune-00", "tune-01", "tune-02", "tune-03"]
    assert machine.ended == ["tune-00", "tune-01"]
    assert phases(found) == ["Succeeded", "Succeeded", "Stopped", "Failed"]
    assert found.status is not None
    assert found.status.best is not None
    assert (found.status.best.values, found.status.phase) == ("objective.beta.w=1.0", "Succeeded")
    assert "is not among the best 2 of 3" in (found.status.points[2].message or "")
    assert found.status.points[3].message == "out of memory"
    kept = json.loads((sweep_folder(one, tmp_path) / "sweep.json").read_text())
    assert kept["status"]["summary"] == "4/4"
    text = sweep_lines(kept, found.status.points[0].end_time, colours=False)  # type: ignore[arg-type]
    assert text[1] == "best so far: 0.9: objective.beta.w=1.0"
    assert [line.split()[:2] for line in text[4:]] == [
        ["00", "Succeeded"],
        ["01", "Succeeded"],
        ["02", "Stopped"],
        ["03", "Failed"],
    ]


def test_a_second_start_runs_what_has_not_ended_well_or_computes_something_else(
    tmp_path: Path,
) -> None:
    first = Machine(
        {0.0: 0.5, 1.0: LocalRunError("no"), 2.0: RunStoppedError("asked", exit_code=130)}
    )
    with pytest.raises(RunStoppedError):
        start(first, tmp_path, sweep(parameters=GRID))
    again = Machine({0.0: 0.5, 1.0: 0.6, 2.0: 0.7, 3.0: 0.0})
    found = start(again, tmp_path, sweep(parameters=GRID))
    assert again.ran == ["tune-01", "tune-02", "tune-03"]
    assert found.status is not None
    assert found.status.points[3].value is None
    assert "left no figure afterPreferenceAccuracy; it left: loss" in (
        found.status.points[3].message or ""
    )
    last = Machine({2.0: 0.7, 0.0: 0.5, 9.0: 0.1})
    changed = [{"field": "objective.beta.w", "values": [2.0, 0.0, 9.0]}]
    start(last, tmp_path, sweep(parameters=changed))
    # What computes the same is not run again, wherever it stands in the grid.
    assert last.ran == ["tune-02"]
    fresh = Machine({2.0: 0.7, 0.0: 0.5, 9.0: 0.1})
    start(fresh, tmp_path, sweep(parameters=changed), fresh=True)
    assert fresh.ran == ["tune-00", "tune-01", "tune-02"]


def test_a_sweep_without_a_figure_has_failed(tmp_path: Path) -> None:
    found = start(
        Machine(dict.fromkeys([0.0, 1.0, 2.0, 3.0], 0.0)), tmp_path, sweep(parameters=GRID)
    )
    assert found.status is not None
    assert (found.status.phase, found.status.best) == ("Failed", None)
