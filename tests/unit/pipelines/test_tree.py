"""The steps of a run as a tree, and runs in a list."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from mmrlhf.client.runs import run_targets
from mmrlhf.errors import UsageError
from mmrlhf_api.pipelines import PIPELINE, RUN, freeze
from mmrlhfctl.text.runs import pipeline_lines, row, run_lines
from tests.unit.pipelines.specimens import body, pipeline

NOW = datetime(2026, 11, 29, 8, 10, tzinfo=UTC)
STATES = [
    {
        "name": "judge",
        "kind": "RewardTrainJob",
        "phase": "Succeeded",
        "cachedFrom": {"run": "weekly-0", "job": "weekly-0-judge", "manifest": "s3://m"},
        "startTime": "2026-11-29T08:00:00Z",
        "endTime": "2026-11-29T08:00:00Z",
    },
    {
        "name": "score",
        "kind": "StepJob",
        "phase": "Failed",
        "job": "weekly-1-score--1",
        "reason": "InvalidInput",
        "message": "row 3",
        "startTime": "2026-11-29T08:00:00Z",
        "endTime": "2026-11-29T08:05:30Z",
    },
    {
        "name": "bench",
        "kind": "StepJob",
        "phase": "Skipped",
        "reason": "NeedFailed",
        "message": "needs score",
    },
    {
        "name": "align",
        "kind": "MMDPOJob",
        "phase": "Running",
        "job": "weekly-1-align",
        "startTime": "2026-11-29T08:00:00Z",
    },
]


def made(**status: Any) -> dict[str, Any]:
    found = freeze(pipeline(), name="weekly-1")
    found["metadata"]["creationTimestamp"] = "2026-11-29T08:00:00Z"
    return {**found, "status": {"steps": STATES, **status}}


def test_a_run_is_shown_with_its_steps_below_what_they_wait_for() -> None:
    shown = made(phase="Running", reason="StepsRun", message="running: align; failed: score")
    assert run_lines(shown, NOW, colours=False) == [
        "AlignmentRun default/weekly-1: Running (StepsRun)",
        "running: align; failed: score",
        "pipeline: weekly",
        "",
        "✓ judge  RewardTrainJob  Succeeded  from run weekly-0",
        "└─ ✗ score  StepJob  Failed  weekly-1-score--1  5m30s  InvalidInput: row 3",
        "   └─ - bench  StepJob  Skipped  NeedFailed: needs score",
        "      └─ ▸ align  MMDPOJob  Running  weekly-1-align  10m  also after judge",
    ]


def test_a_run_without_a_status_and_with_a_cycle_is_shown_too() -> None:
    found = made()
    del found["status"]
    assert run_lines(found, NOW, colours=False)[0] == "AlignmentRun default/weekly-1: Pending"
    found["spec"]["steps"] = [
        {"name": "a", "kind": "StepJob", "spec": {"x": "${steps.b.y}"}},
        {"name": "b", "kind": "StepJob", "spec": {}, "needs": ["a"]},
    ]
    assert len(run_lines(found, NOW, colours=False)) >= 1


def test_what_steers_a_terminal_is_shown_as_text() -> None:
    text = "\n".join(run_lines(made(phase="Failed", message="a\x1b[2Jb"), NOW, colours=True))
    assert "\x1b[2J" not in text


def test_a_pipeline_says_whether_runs_can_be_made() -> None:
    told = {"type": "Ready", "status": "False", "message": "spec.steps[0]: no"}
    found = {**body(), "status": {"conditions": [told]}}
    found["metadata"]["namespace"] = "default"
    lines = pipeline_lines(found, colours=False)
    assert lines[:2] == ["AlignmentPipeline default/weekly: NotReady", "spec.steps[0]: no"]
    assert [str(cell) for cell in row(found, NOW)] == [
        "AlignmentPipeline",
        "weekly",
        "NotReady",
        "",
        "",
        "-",
    ]


@pytest.mark.parametrize(
    ("words", "resources", "named"),
    [
        (["ar"], [RUN], []),
        (["AlignmentRuns.mmrlhf.io"], [RUN], []),
        (["ap,ar"], [PIPELINE, RUN], []),
        (["ar", "a", "b"], [], [(RUN, "a"), (RUN, "b")]),
        (["ar/a", "ap/b"], [], [(RUN, "a"), (PIPELINE, "b")]),
    ],
)
def test_runs_are_named_as_jobs_are(words: list[str], resources: Any, named: Any) -> None:
    found = run_targets(words)
    assert found is not None
    assert (list(found.resources), list(found.named)) == (resources, named)


@pytest.mark.parametrize("words", [[], ["mmdpo"], ["digits"], ["sj/a", "sj/b"], ["sj", "ar"]])
def test_jobs_are_left_to_the_others(words: list[str]) -> None:
    assert run_targets(words) is None


@pytest.mark.parametrize("words", [["ar/a", "sj/b"], ["ar,sj"], ["ap,ar", "a"]])
def test_both_at_once_is_refused(words: list[str]) -> None:
    with pytest.raises(UsageError):
        run_targets(words)
