"""``wait``, ``suspend``, ``resume``, ``cancel`` and ``delete`` against a real API server."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from mmrlhf_api import KINDS
from mmrlhf_api.crd import crd
from tests.cli.remote.conftest import Ctl, replaced
from tests.cli.remote.test_looking import make_pod
from tests.cluster.wait import wait_until

pytestmark = pytest.mark.cluster

FAILED: dict[str, Any] = {
    "phase": "Failed",
    "reason": "InvalidInput",
    "conditions": [
        {
            "type": "Failed",
            "status": "True",
            "reason": "InvalidInput",
            "message": "row 3: no responses",
            "lastTransitionTime": "2026-11-23T12:00:00Z",
        }
    ],
}


def condition(kind: str, status: str) -> dict[str, Any]:
    return {"conditions": [FAILED["conditions"][0] | {"type": kind, "status": status}]}


def test_a_condition_is_waited_for(ctl: Ctl) -> None:
    ctl.job()
    running = ctl.start("wait", "digits", "--for=condition=running")
    # Long enough for the wait to begin; what it then sees must be the change, not the list.
    with pytest.raises(Exception, match="did not come"):
        wait_until(lambda: running.process.poll() is not None, timeout=3, what="an early end")
    ctl.set_status("MMDPOJob", "digits", phase="Running", **condition("Running", "True"))
    assert running.end() == 0
    assert running.out == "mmdpojob.mmrlhf.io/digits condition met\n"
    again = ctl("wait", "digits", "--for=condition=Running=false", "--timeout=1")
    assert again.returncode == 4
    assert "did not come within 1 s; it is Running" in again.stderr


def test_what_cannot_come_any_more_is_not_waited_for(ctl: Ctl) -> None:
    ctl.job()
    ctl.set_status("MMDPOJob", "digits", **FAILED)
    done = ctl("wait", "digits")
    assert (done.returncode, done.stdout) == (1, "")
    assert "failed (InvalidInput): row 3: no responses" in done.stderr
    assert ctl("wait", "digits", "--for=condition=Failed").returncode == 0
    assert ctl("wait", "nowhere").returncode == 3
    assert ctl("wait", "digits", "--for=condition=Done").returncode == 2


def test_a_job_that_is_deleted_meanwhile_is_not_waited_for(ctl: Ctl) -> None:
    ctl.job()
    gone = ctl.start("wait", "digits", "--for=delete", "--timeout=300s")
    succeeded = ctl.start("wait", "digits")
    with pytest.raises(Exception, match="did not come"):
        wait_until(lambda: gone.process.poll() is not None, timeout=3, what="an early end")
    ctl.cluster.api.delete(ctl.path("MMDPOJob", "digits"))
    assert gone.end() == 0
    assert succeeded.end() == 3


def test_jobs_are_suspended_and_resumed(ctl: Ctl) -> None:
    ctl.job()
    ctl.job(name="other")
    done = ctl("suspend", "digits", "other")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "mmdpojob.mmrlhf.io/digits suspended",
        "mmdpojob.mmrlhf.io/other suspended",
    ]
    assert ctl.suspended()
    assert ctl.suspended("other")
    again = ctl("suspend", "digits")
    assert (again.returncode, again.stdout) == (0, "")
    assert "is suspended already" in again.stderr
    assert ctl("resume", "mmdpo", "digits").stdout == "mmdpojob.mmrlhf.io/digits resumed\n"
    assert not ctl.suspended()
    assert ctl.suspended("other")


@pytest.mark.parametrize("verb", ["suspend", "resume"])
def test_a_job_that_has_ended_is_left_alone(ctl: Ctl, verb: str) -> None:
    ctl.job()
    ctl.set_status("MMDPOJob", "digits", **FAILED)
    done = ctl(verb, "digits")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"has ended (Failed); there is nothing to {verb}" in done.stderr
    assert not ctl.suspended()


def without_cancel() -> dict[str, Any]:
    """The CRD of a version that had no spec.runPolicy.cancel."""
    body = copy.deepcopy(crd(KINDS["MMDPOJob"], cel=False))
    schema = body["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    policy = schema["properties"]["spec"]["properties"]["runPolicy"]
    del policy["properties"]["cancel"]
    del policy["default"]["cancel"]
    return body


def test_cancel_says_when_the_cluster_does_not_know_it(ctl: Ctl) -> None:
    ctl.job()
    with replaced(ctl, without_cancel()):
        done = ctl("cancel", "digits")
    assert (done.returncode, done.stdout) == (5, "")
    assert "do not know spec.runPolicy.cancel" in done.stderr
    assert "is as it was" in done.stderr


def test_jobs_are_cancelled_for_good(ctl: Ctl) -> None:
    ctl.job()
    done = ctl("cancel", "digits")
    assert done.stdout == "mmdpojob.mmrlhf.io/digits cancelled\n"
    body = ctl.cluster.api.get(ctl.path("MMDPOJob", "digits"))
    assert body["spec"]["runPolicy"]["cancel"] is True
    again = ctl("cancel", "digits")
    assert (again.returncode, again.stdout) == (0, "")
    assert "is being cancelled already" in again.stderr
    assert "Note:        to be cancelled" in ctl("status", "digits").stdout
    resumed = ctl("resume", "digits")
    assert resumed.returncode == 2
    assert "is being cancelled; there is nothing to resume" in resumed.stderr
    waiting = ctl.start("wait", "digits")
    reason = "Cancelled"
    failed = {**FAILED["conditions"][0], "reason": reason, "message": "runPolicy.cancel is true"}
    ctl.set_status("MMDPOJob", "digits", phase="Failed", reason=reason, conditions=[failed])
    assert waiting.end() == 1
    assert waiting.err == f"error: MMDPOJob {ctl.namespace}/digits was cancelled\n"
    ended = ctl("cancel", "digits")
    assert (ended.returncode, ended.stdout) == (0, "")
    assert "has ended already (Failed)" in ended.stderr
    assert ctl("wait", "digits", "--for=condition=Failed").returncode == 0
    followed = ctl("logs", "digits", "-f")
    assert followed.returncode == 1
    assert followed.stderr.endswith("digits was cancelled\n")
    submitted = ctl("submit", "-f", "-", stdin=ctl("get", "digits", "-o", "json").stdout)
    assert "has ended (Failed) and does not run again" in submitted.stderr


def test_delete_returns_when_jobs_and_pods_are_gone(ctl: Ctl) -> None:
    owner = ctl.job()
    make_pod(ctl, owner, attempt=0, rank=0)
    done = ctl("delete", "digits", "--timeout=300s")
    assert (done.returncode, done.stdout) == (0, "mmdpojob.mmrlhf.io/digits deleted\n")
    assert ctl.cluster.api.get(f"/api/v1/namespaces/{ctl.namespace}/pods")["items"] == []
    assert ctl("delete", "digits").returncode == 3
    assert ctl("delete", "digits", "--ignore-not-found").returncode == 0


def test_delete_says_what_holds_a_job(ctl: Ctl) -> None:
    ctl.job(metadata__finalizers=["test.mmrlhf.io/hold"])
    done = ctl("delete", "digits", "--timeout=1s")
    assert done.returncode == 4
    assert "is still there after 1 s; it is held by test.mmrlhf.io/hold" in done.stderr
    assert ctl("delete", "digits", "--no-wait").returncode == 0
    again = ctl("submit", "-f", "-", stdin=ctl("get", "digits", "-o", "json").stdout)
    assert again.returncode == 2
    assert "is being deleted; submit it again when it is gone" in again.stderr
    ctl.cluster.api.patch(ctl.path("MMDPOJob", "digits"), {"metadata": {"finalizers": None}})
