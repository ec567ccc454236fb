"""Progress events."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from mmrlhf_jobs.reporting.events import NoProgress
from mmrlhf_jobs.reporting.fan_out import Several
from mmrlhf_jobs.reporting.file import FileProgress
from mmrlhf_jobs.reporting.progress import progress_from_environment


def test_events_are_lines_and_numbers_that_json_lacks_become_null(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    progress = FileProgress(path)
    progress.emit("phase", phase="train", message="go")
    progress.emit("step", step=1, loss=math.nan)
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"event": "phase", "phase": "train", "message": "go"},
        {"event": "step", "step": 1, "loss": None},
    ]


def test_a_place_that_cannot_be_written_does_not_end_the_job(tmp_path: Path) -> None:
    FileProgress(tmp_path / "none" / "progress.jsonl").emit("notice", message="lost")


def test_only_rank_0_speaks(tmp_path: Path) -> None:
    environ = {"MMRLHF_PROGRESS_FILE": str(tmp_path / "p")}
    assert isinstance(progress_from_environment(environ), FileProgress)
    assert isinstance(progress_from_environment({**environ, "RANK": "1"}), NoProgress)
    assert isinstance(progress_from_environment({"RANK": "1"}), NoProgress)


def test_without_a_file_the_log_tells(capsys: pytest.CaptureFixture[str]) -> None:
    progress = progress_from_environment({})
    progress.emit("phase", phase="train", message="step 0 of 9")
    progress.emit("phase", phase="reference")
    progress.emit("step", step=1, totalSteps=9, loss=0.5, margin=1.25, accuracy=None)
    progress.emit("notice", message="slow")
    progress.emit("done", artifacts="s3://b/r", metrics={"a": 1.0})
    progress.close()
    assert capsys.readouterr().out.splitlines() == [
        "train: step 0 of 9",
        "reference",
        "step 1/9  loss 0.5000  margin 1.2500",
        "note: slow",
        "done: artifacts are at s3://b/r",
    ]


def test_a_cluster_is_told_and_shown(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("t")
    environ = {
        "MMRLHF_PROGRESS_URL": "http://127.0.0.1:9/v1/progress",
        "MMRLHF_TOKEN_FILE": str(token),
    }
    progress = progress_from_environment(environ)
    assert isinstance(progress, Several)
    progress.close()
