"""Sweeps through the command line, with an operator that is played."""

from __future__ import annotations

import json

import pytest

from tests.cli.remote.conftest import Ctl
from tests.unit.sweeps.specimens import body

pytestmark = pytest.mark.cluster


def test_a_sweep_is_submitted_shown_drawn_and_cancelled(ctl: Ctl) -> None:
    file = ctl.folder / "sweep.json"
    file.write_text(json.dumps(body()))
    assert ctl("submit", "-f", str(file)).stdout == "sweep.mmrlhf.io/tune created\n"
    point = {"name": "00", "values": "objective.beta.w=0.25, training.seed=0"}
    ctl.set_status(
        "Sweep",
        "tune",
        phase="Running",
        reason="PointsRun",
        summary="1/4",
        best={"values": "objective.beta.w=0.25", "value": 0.75, "points": ["00"]},
        points=[
            {**point, "phase": "Succeeded", "value": 0.75, "job": "tune-00"},
            {**point, "name": "01", "phase": "Failed", "job": "tune-01", "message": "row 3"},
        ],
    )
    lines = ctl("status", "sw/tune").stdout.splitlines()
    assert lines[0].endswith("/tune: Running (PointsRun)")
    assert lines[1] == "best so far: 0.75: objective.beta.w=0.25"
    assert lines[3].split() == [
        "POINT",
        "PHASE",
        "AFTERPREFERENCEACCURACY",
        "TIME",
        "VALUES",
        "WHY",
    ]
    assert lines[4].split()[:3] == ["00", "Succeeded", "0.75"]
    assert lines[5].endswith("row 3")
    assert ["Sweep", "tune", "Running", "1/4"] in [
        row.split()[:4] for row in ctl("get", "sweeps").stdout.splitlines()
    ]
    assert "why MMDPOJob/tune-01" in ctl("why", "sw/tune").stderr
    page = ctl.folder / "tune.html"
    assert ctl("report", "sw/tune", "-o", str(page)).stdout == f"{page}\n"
    assert 'class="heat' in page.read_text()
    assert "tune-01 is gone, and not counted" in ctl("cost", "sw/tune").stderr
    refused = ctl("retry", "sw/tune")
    assert (refused.returncode, "whose points run once" in refused.stderr) == (2, True)
    assert ctl("cancel", "sw/tune").stdout == "sweep.mmrlhf.io/tune cancelled\n"
    wrong = body(parameters=[{"field": "training.sed", "values": [1]}])
    file.write_text(json.dumps(wrong, indent=2))
    told = ctl("submit", "-f", str(file))
    assert told.returncode == 2
    assert "spec.parameters[0].values[0]: training.sed: unknown field; did you" in told.stderr
