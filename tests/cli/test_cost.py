"""What runs have cost, by their attempts."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mmrlhfctl.text.cost import cost_row, figure_gained, spent_by, total_line

Command = Callable[..., subprocess.CompletedProcess[str]]
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def attempt(start: int, end: int | None, ending: str | None = None) -> dict[str, Any]:
    """An attempt between two hours of the day."""
    known = {} if ending is None else {"exit": ending}
    at = f"2026-01-01T{start:02}:00:00+00:00"
    return {"startedAt": at, "endedAt": end and f"2026-01-01T{end:02}:00:00+00:00", **known}


def test_what_ended_well_or_interrupted_is_kept_and_all_else_may_be_lost() -> None:
    attempts = [
        attempt(0, 2, "Interrupted"),
        attempt(2, 3, "StorageError"),
        attempt(3, None, "Killed"),  # held its GPUs until the next began, at most
        attempt(5, 9, "Succeeded"),
    ]
    one = spent_by("a", attempts, gpus=8, ended=True, now=NOW, waited=1800.0)
    assert one.seconds == {
        "Interrupted": 7200,
        "StorageError": 3600,
        "Killed": 7200,
        "Succeeded": 14400,
    }
    assert (one.gpu_hours, one.lost()) == (72.0, {"StorageError": 8.0, "Killed": 16.0})
    assert cost_row(one, price=2.5, figure=None) == [
        *("a", "8", "9.00", "72.00", "24.00", "Killed 16.00, StorageError 8.00", "0.50", "180.00")
    ]
    assert total_line([one, one], price=2.5) == (
        "144.00 GPU-hours in all, 360.00 at 2.5 each; at most 48.00 of them lost"
    )
    assert total_line([one], price=None) == "72.00 GPU-hours in all; at most 24.00 of them lost"


def test_an_attempt_without_an_end_runs_or_is_not_counted() -> None:
    attempts = [attempt(10, None)]
    running = spent_by("a", attempts, gpus=1, ended=False, now=NOW)
    assert (running.gpu_hours, running.lost(), running.unknown) == (2.0, {}, 0)
    lost = spent_by("a", attempts, gpus=1, ended=True, now=NOW)
    assert (lost.gpu_hours, lost.unknown) == (0.0, 1)
    assert cost_row(lost, price=None, figure=None)[5] == "1 without an end, not counted"
    odd = spent_by("a", [{"startedAt": 5}, {}], gpus=1, ended=True, now=NOW)
    assert odd.unknown == 2
    rejected = spent_by("a", [attempt(1, 2, "Rejected")], gpus=1, ended=True, now=NOW)
    assert (rejected.gpu_hours, rejected.lost()) == (1.0, {})


@pytest.mark.parametrize(
    ("metrics", "gained", "cell"),
    [
        ({"beforeA": 0.5, "afterA": 0.75}, 0.25, "0.32"),  # 4 GPU-hours at 2 over 25 points
        ({"beforeA": 0.75, "afterA": 0.5}, -0.25, ""),
        ({"beforeA": 0.5, "afterA": 0.5}, 0.0, ""),
        ({"afterA": 0.75}, None, ""),
        ({"beforeA": True, "afterA": 0.75}, None, ""),
    ],
)
def test_a_point_costs_what_was_paid_for_what_was_gained(
    metrics: dict[str, Any], gained: float | None, cell: str
) -> None:
    assert figure_gained(metrics, "afterA") == gained
    assert figure_gained(metrics, "A") is None
    one = spent_by("a", [attempt(0, 4, "Succeeded")], gpus=1, ended=True, now=NOW, metrics=metrics)
    assert cost_row(one, price=2.0, figure="afterA")[-1] == cell


def test_records_are_counted_without_a_cluster(command: Command, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    record = {
        "job": {"spec": {"resources": {"nodes": 2, "gpusPerNode": 4}}},
        "attempts": [attempt(0, 1, "ModelError"), attempt(1, 2, "Succeeded")],
        "metrics": {"beforeA": 0.5, "afterA": 0.6},
    }
    (run / "manifest.json").write_text(json.dumps(record))
    done = command("cost", "./run", "--price", "3", "--per", "afterA")
    assert done.returncode == 0, done.stderr
    head, row = [line.split("   ") for line in done.stdout.splitlines()]
    assert head[-2:] == ["PRICE", "A POINT"]
    assert [cell.strip() for cell in row if cell.strip()] == [
        *("./run", "8", "2.00", "16.00", "8.00", "ModelError 8.00", "-", "48.00", "4.80")
    ]
    assert done.stderr == "16.00 GPU-hours in all, 48.00 at 3 each; at most 8.00 of them lost\n"
    assert command("cost", "./run", "--price", "-1").returncode == 2
