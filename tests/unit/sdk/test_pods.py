"""A pod as people are shown it: the job's container decides, as for the operator."""

from __future__ import annotations

from typing import Any

import pytest

from mmrlhf.client.views import PodView

RUNS: dict[str, Any] = {"running": {"startedAt": "2026-01-31T12:00:00Z"}}
CRASHED: dict[str, Any] = {"terminated": {"exitCode": 1, "reason": "Error", "message": "boom"}}
ENDED: dict[str, Any] = {"terminated": {"exitCode": 0, "reason": "Completed"}}
BACK_OFF: dict[str, Any] = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}
WAITS: dict[str, Any] = {"waiting": {"reason": "PodInitializing"}}


def view(job: dict[str, Any], *, mesh: dict[str, Any], native: bool, phase: str) -> PodView:
    spec: dict[str, Any] = {"containers": [{"name": "mesh"}, {"name": "job"}]}
    status: dict[str, Any] = {
        "phase": phase,
        "containerStatuses": [{"name": "mesh", "state": mesh}, {"name": "job", "state": job}],
    }
    if native:
        spec = {
            "containers": [{"name": "job"}],
            "initContainers": [{"name": "mesh", "restartPolicy": "Always"}],
        }
        status["initContainerStatuses"] = [{"name": "mesh", "state": mesh}]
        status["containerStatuses"] = [{"name": "job", "state": job}]
    labels = {"mmrlhf.io/attempt": "0", "mmrlhf.io/index": "0"}
    found = PodView.read(
        {"metadata": {"name": "demo-0-0", "labels": labels}, "spec": spec, "status": status}
    )
    assert found is not None
    return found


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("mesh", [RUNS, CRASHED, BACK_OFF])
def test_what_runs_beside_a_job_is_not_its_state(native: bool, mesh: dict[str, Any]) -> None:
    assert view(RUNS, mesh=mesh, native=native, phase="Running").state == "Running"
    ended = view(ENDED, mesh=mesh, native=native, phase="Running")
    assert (ended.state, ended.ended, ended.exit_code) == ("Completed", True, 0)


def test_what_keeps_a_job_from_starting_is_named() -> None:
    held = view(WAITS, mesh=BACK_OFF, native=True, phase="Pending")
    assert (held.state, held.why) == ("Init:CrashLoopBackOff", "mesh: back-off")
    assert not view(WAITS, mesh=RUNS, native=True, phase="Pending").state.startswith("Init")
