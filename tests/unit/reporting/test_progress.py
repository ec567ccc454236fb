"""Progress events."""

from __future__ import annotations

import json
import math
from pathlib import Path

from mmrlhf_jobs.reporting.progress import FileProgress, NoProgress, progress_from_environment


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
    assert isinstance(progress_from_environment({}), NoProgress)
