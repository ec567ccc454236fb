"""``clone``, ``diff``, ``top`` and ``cost`` against a real API server."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.cli.remote.conftest import Ctl
from tests.cli.remote.test_runs import run
from tests.cli.test_cost import attempt

pytestmark = pytest.mark.cluster

GONE = {"name": "b", "kind": "StepJob", "job": "gone"}


def test_a_job_is_cloned_with_a_change_compared_and_seen_among_what_runs(ctl: Ctl) -> None:
    ctl.job(runPolicy={"suspend": True, "maxRestarts": 2})
    ctl.set_status("MMDPOJob", "digits", phase="Suspended")
    made = ctl("clone", "digits", "--set", "spec.training.epochs=7", "--name", "again", "--submit")
    assert (made.returncode, made.stderr) == (0, ""), made.stderr
    assert made.stdout == "mmdpojob.mmrlhf.io/again created\n"
    drawn = ctl("clone", "mmdpo/digits", "--submit")
    assert drawn.stdout.startswith("mmdpojob.mmrlhf.io/digits-"), drawn.stderr
    found = ctl("diff", "digits", "again")
    assert found.returncode == 0, found.stderr
    fields = [line.split() for line in found.stdout.splitlines()]
    assert fields[0] == ["FIELD", "digits", "again"]
    assert sorted(line[0] for line in fields[1:]) == ["runPolicy.suspend", "training.epochs"]
    ctl.set_status("MMDPOJob", "again", phase="Running", progress={"step": 3, "totalSteps": 9})
    shown = ctl("top", "mmdpo")
    assert shown.returncode == 0, shown.stderr
    rows = [line.split() for line in shown.stdout.splitlines()]
    assert rows[0][:5] == ["KIND", "NAME", "PHASE", "GPUS", "DONE"]
    assert rows[1][:5] == ["mmdpo", "again", "Running", "0", "3/9"]
    assert [row[1] for row in rows[2:]] == [drawn.stdout.split("/")[1].split()[0], "digits"]
    assert "1 job with 0 GPUs run, 1 job with 0 GPUs wait" in shown.stderr
    assert "name kinds, not jobs" in ctl("top", "mmdpo/digits").stderr
    none = ctl("top", "reward")
    assert (none.returncode, none.stdout) == (0, "")
    assert "no job runs or waits in namespace" in none.stderr


def test_what_a_job_and_each_step_of_a_run_have_cost(ctl: Ctl, tmp_path: Path) -> None:
    store, gpus = tmp_path / "store", {"nodes": 2, "gpusPerNode": 1}
    made = ctl.job(artifacts={"uri": str(store)}, resources=gpus)
    run(ctl, phase="Running", steps=[{"name": "a", "kind": "MMDPOJob", "job": "digits"}, GONE])
    none = ctl("cost", "digits")
    assert none.stdout.splitlines()[1].split()[:4] == ["mmdpo/digits", "2", "0.00", "0.00"]
    meta = made["metadata"]
    folder = store / meta["namespace"] / "digits" / meta["uid"]
    folder.mkdir(parents=True)
    attempts = [attempt(0, 1, "StorageError"), attempt(1, 3, "Succeeded")]
    (folder / "attempts.json").write_text(json.dumps(attempts))
    started = datetime.fromisoformat(meta["creationTimestamp"]) + timedelta(hours=2)
    ended = {"phase": "Succeeded", "startTime": started.strftime("%Y-%m-%dT%H:%M:%SZ")}
    ctl.set_status("MMDPOJob", "digits", **ended)
    told = ctl("cost", "ar/weekly-1")
    assert told.returncode == 0, told.stderr
    assert told.stdout.splitlines()[1].split() == [
        *("mmdpo/digits", "2", "3.00", "6.00", "2.00", "StorageError", "2.00", "2.00")
    ]
    assert "gone is gone, and not counted" in told.stderr
    assert "PRICE" not in told.stdout
    price = {"gpuHour": 2.5, "currency": "EUR"}
    gained = {"promoted": 1.0, "judge.difference": 0.04}
    ctl.set_status("MMDPOJob", "digits", **ended, price=price, metrics=gained)
    told = ctl("cost", "ar/weekly-1")
    assert "PRICE (EUR)" in told.stdout.splitlines()[0]
    assert told.stdout.splitlines()[1].split()[-1] == "15.00"
    assert "6.00 GPU-hours in all, 15.00 EUR at 2.5 each" in told.stderr
    assert "judge: +4.00 points by the gate, 1.50 GPU-hours each, 3.75 EUR" in told.stderr
    assert ctl("cost", "digits", "--price", "1").stdout.splitlines()[1].split()[-1] == "6.00"
    assert "GPU-hour" in ctl("describe", "digits").stdout
    (folder / "attempts.json").write_text("{")
    damaged = ctl("cost", "digits")
    assert (damaged.returncode, "attempts.json is damaged" in damaged.stderr) == (1, True)
