"""Runs of pipelines through the command line, with an operator that is played."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.remote.conftest import Ctl
from tests.unit.pipelines.specimens import body

pytestmark = pytest.mark.cluster


@pytest.fixture
def file(ctl: Ctl) -> Path:
    path = ctl.folder / "pipeline.json"
    path.write_text(json.dumps(body()))
    return path


def run(ctl: Ctl, **status: Any) -> None:
    spec = {key: value for key, value in body()["spec"].items() if key != "parameters"}
    parameters = [{"name": "epochs", "value": 1}, {"name": "week", "value": "2026-48"}]
    made = {
        "apiVersion": "mmrlhf.io/v1alpha1",
        "kind": "AlignmentRun",
        "metadata": {"name": "weekly-1"},
        "spec": {**spec, "parameters": parameters},
    }
    ctl.cluster.api.create(ctl.path("AlignmentRun"), made)
    if status:
        ctl.set_status("AlignmentRun", "weekly-1", **status)


def test_a_pipeline_is_validated_submitted_and_submitted_again(ctl: Ctl, file: Path) -> None:
    checked = ctl("validate", "-f", str(file))
    assert checked.stdout == "AlignmentPipeline default/weekly: valid\n"
    made = ctl("submit", "-f", str(file))
    assert (made.returncode, made.stdout) == (0, "alignmentpipeline.mmrlhf.io/weekly created\n")
    again = ctl("submit", "-f", str(file))
    assert again.stdout == "alignmentpipeline.mmrlhf.io/weekly unchanged\n"
    listed = ctl("get", "ap")
    assert [row.split()[:2] for row in listed.stdout.splitlines()] == [
        ["KIND", "NAME"],
        ["AlignmentPipeline", "weekly"],
    ]
    assert "bench  StepJob" in ctl("status", "ap/weekly").stdout
    assert ctl("suspend", "ap/weekly").stdout == "alignmentpipeline.mmrlhf.io/weekly suspended\n"
    refused = ctl("cancel", "ap/weekly")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "cancel is for its runs" in refused.stderr


def test_a_laptop_is_asked_for(ctl: Ctl, file: Path) -> None:
    refused = ctl("run", "-f", str(file), namespace=False)
    assert refused.returncode == 2
    assert "run works on this machine: add --local" in refused.stderr


def test_what_is_wrong_is_said_before_anything_is_sent(ctl: Ctl, file: Path) -> None:
    wrong = body(steps={"bench": {"needs": ["scores"]}})
    file.write_text(json.dumps(wrong, indent=2))
    for command in ("validate", "submit"):
        told = ctl(command, "-f", str(file))
        assert told.returncode == 2
        assert "spec.steps[2].needs[0]: there is no step scores" in told.stderr
    assert ctl("get", "ap", "-o", "name").stdout == ""


def test_a_run_is_suspended_resumed_cancelled_and_deleted(ctl: Ctl) -> None:
    run(ctl)
    assert ctl("suspend", "ar/weekly-1").stdout == "alignmentrun.mmrlhf.io/weekly-1 suspended\n"
    assert "suspended already" in ctl("suspend", "ar/weekly-1").stderr
    assert ctl("resume", "ar", "weekly-1").stdout == "alignmentrun.mmrlhf.io/weekly-1 resumed\n"
    assert ctl("cancel", "ar/weekly-1").stdout == "alignmentrun.mmrlhf.io/weekly-1 cancelled\n"
    shown = json.loads(ctl("get", "ar/weekly-1", "-o", "json").stdout)
    assert (shown["spec"]["cancel"], shown["spec"]["suspend"]) == (True, False)
    assert ctl("delete", "ar/weekly-1").stdout == "alignmentrun.mmrlhf.io/weekly-1 deleted\n"
    missing = ctl("status", "ar/weekly-1")
    assert missing.returncode == 3
    assert "there is no AlignmentRun weekly-1" in missing.stderr


def test_a_run_that_failed_is_explained_and_retried(ctl: Ctl) -> None:
    step = {
        "name": "score",
        "kind": "StepJob",
        "phase": "Failed",
        "job": "weekly-1-score",
        "reason": "InvalidInput",
        "message": "row 3",
    }
    run(ctl, phase="Failed", reason="StepFailed", message="step score has failed", steps=[step])
    why = ctl("why", "ar/weekly-1")
    assert "✗ score  StepJob  Failed  weekly-1-score  InvalidInput: row 3" in why.stdout
    assert "why StepJob/weekly-1-score" in why.stderr
    assert ctl("retry", "weekly-1").stdout == "alignmentrun.mmrlhf.io/weekly-1 retries score\n"
    shown = ctl("get", "ar/weekly-1", "-o", "jsonpath={.spec.retry}")
    assert shown.stdout.strip() == "1"
    ctl.set_status("AlignmentRun", "weekly-1", steps=[{**step, "phase": "Running"}], retried=1)
    nothing = ctl("retry", "weekly-1")
    assert (nothing.returncode, "has no step that failed" in nothing.stderr) == (2, True)
    for command in (["logs"], ["wait"], ["describe"], ["events"]):
        refused = ctl(*command, "ar/weekly-1")
        assert refused.returncode == 2, command
