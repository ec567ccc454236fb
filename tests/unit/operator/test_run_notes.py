"""What is told of a run by events: each once, whatever its status says besides."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mmrlhf_api import Condition
from mmrlhf_api.constants import Phase
from mmrlhf_api.pipelines.phases import StepPhase
from mmrlhf_api.pipelines.types import AlignmentRunStatus, CachedFrom, StepStatus
from mmrlhf_operator.planning.run_notes import run_notes

NOW = datetime(2026, 11, 29, 8, 0, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


def step(name: str, phase: StepPhase, **fields: Any) -> StepStatus:
    known: dict[str, Any] = {
        "job": f"r-{name}",
        "uid": "u",
        "start_time": NOW,
        "message": "so it is",
    }
    if phase in {StepPhase.SUCCEEDED, StepPhase.FAILED}:
        known["end_time"] = LATER
    return StepStatus(name=name, kind="StepJob", phase=phase, **known | fields)


def told(*steps: StepStatus, **fields: Any) -> list[tuple[str, str, str]]:
    status = AlignmentRunStatus(steps=steps, **fields)
    return [(note.type, note.reason, note.message) for note in run_notes(status)]


def test_a_step_is_told_when_its_job_is_there_and_when_that_has_ended() -> None:
    started = ("Normal", "StepStarted", "step a runs as StepJob r-a")
    assert told(step("a", StepPhase.STARTING, uid=None)) == []
    assert told(step("a", StepPhase.RUNNING)) == [started]
    assert told(step("a", StepPhase.SUCCEEDED)) == [
        started,
        ("Normal", "StepSucceeded", "step a: so it is"),
    ]
    assert told(step("a", StepPhase.FAILED, reason="InvalidInput")) == [
        started,
        ("Warning", "StepFailed", "step a (InvalidInput): so it is"),
    ]
    assert told(step("a", StepPhase.FAILED, reason="Cancelled"))[1][0] == "Normal"


def test_a_result_that_was_taken_is_told_and_a_skipped_step_is_not() -> None:
    origin = CachedFrom(run="before", job="before-a", manifest="s3://m")
    taken = step("a", StepPhase.SUCCEEDED, cached_from=origin, job=None, uid=None)
    waiting = StepStatus(name="b", kind="StepJob", phase=StepPhase.SKIPPED, end_time=LATER)
    assert told(taken, waiting) == [("Normal", "StepTaken", "step a: so it is")]


@pytest.mark.parametrize(
    ("phase", "reason", "type_"),
    [
        (Phase.SUCCEEDED, "Completed", "Normal"),
        (Phase.FAILED, "StepFailed", "Warning"),
        (Phase.FAILED, "Cancelled", "Normal"),
    ],
)
def test_the_end_of_a_run_is_told_last(phase: Phase, reason: str, type_: str) -> None:
    over = {"phase": phase, "reason": reason, "message": "done", "completion_time": LATER}
    found = told(step("a", StepPhase.SUCCEEDED), **over)
    assert [one[1] for one in found] == ["StepStarted", "StepSucceeded", f"Run{phase}"]
    assert found[-1] == (type_, f"Run{phase}", "done")
    assert told(phase=Phase.RUNNING, reason="StepsRun", message="m") == []


def test_a_job_that_cannot_be_made_is_told_while_that_is_so() -> None:
    blocked = Condition(
        type="Blocked",
        status="True",
        reason="NameConflict",
        message="there is another",
        last_transition_time=NOW,
    )
    assert told(conditions=(blocked,)) == [("Warning", "NameConflict", "there is another")]
    assert told(conditions=(blocked.model_copy(update={"status": "False"}),)) == []


def test_what_happens_again_is_another_event() -> None:
    def keys(*steps: StepStatus, **fields: Any) -> set[str]:
        return {note.key for note in run_notes(AlignmentRunStatus(steps=steps, **fields))}

    first = step("a", StepPhase.FAILED)
    again = step("a", StepPhase.FAILED, job="r-a--1", tries=1)
    assert len(keys(first) | keys(again)) == 4
    assert keys(first) == keys(first.model_copy(update={"message": "in other words"}))
    over = {"phase": Phase.FAILED, "reason": "StepFailed", "message": "m"}
    assert len(keys(completion_time=NOW, **over) | keys(completion_time=LATER, **over)) == 2
