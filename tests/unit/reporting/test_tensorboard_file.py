"""TensorBoard's event file: what is in it, and that an attempt that goes on doubles nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmrlhf_jobs.reporting.trackers.tensorboard_file import EVENT_FILE, TensorboardFile
from mmrlhf_jobs.reporting.trackers.tracker import Row
from tests.unit.reporting.event_file import read_events, read_scalars

ROWS: list[Row] = [
    {"step": step, "loss": 1 / step, "pairs": 7, "margin": None} for step in range(1, 7)
]


def write(folder: Path, kept: Path, rows: list[Row]) -> bytes:
    """Write an attempt's file and return what is kept of it."""
    names = []

    def keep(file: Path, name: str) -> None:
        names.append(name)
        kept.write_bytes(file.read_bytes())

    tracker = TensorboardFile(folder, keep)
    tracker.open()
    for row in rows:
        tracker.log(row, 1000.0 + row["step"])
    tracker.keep()
    content = kept.read_bytes()
    tracker.close(succeeded=True)
    assert names == [f"tensorboard/{EVENT_FILE}"]
    return content


def test_each_row_is_an_event_with_its_figures(tmp_path: Path) -> None:
    write(tmp_path / "local", tmp_path / "kept", ROWS)
    first, *events = read_events(tmp_path / "kept")
    assert first.file_version == "brain.Event:2"
    assert [event.wall_time for event in events] == [1000.0 + step for step in range(1, 7)]
    scalars = read_scalars(tmp_path / "kept")
    assert [step for step, _ in scalars] == [1, 2, 3, 4, 5, 6]
    for (_, found), row in zip(scalars, ROWS, strict=True):
        assert found == {"loss": pytest.approx(row["loss"]), "pairs": 7.0}


def test_an_attempt_that_goes_on_writes_the_whole_file_anew(tmp_path: Path) -> None:
    before = write(tmp_path / "first", tmp_path / "kept", ROWS[:4])
    # On the same disk, with what was written after the checkpoint still there.
    after = write(tmp_path / "first", tmp_path / "kept", ROWS)
    assert [step for step, _ in read_scalars(tmp_path / "kept")] == [1, 2, 3, 4, 5, 6]
    assert after.startswith(before), "a TensorBoard that follows the file reads on"
