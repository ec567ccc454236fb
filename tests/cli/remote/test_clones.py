"""``clone``, ``diff`` and ``top`` against a real API server."""

from __future__ import annotations

import pytest

from tests.cli.remote.conftest import Ctl

pytestmark = pytest.mark.cluster


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
