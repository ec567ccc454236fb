"""The SDK's client against a real API server; the operator is played by the test."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

import mmrlhf
from mmrlhf.client.client import Client
from mmrlhf.errors import (
    ConflictError,
    JobFailedError,
    NotFoundError,
    RejectedError,
    UsageError,
    WaitTimeoutError,
)
from mmrlhf_api import parse_job
from tests.cli.remote.conftest import Ctl
from tests.cli.remote.specimens import condition
from tests.unit.api.specimens import changed

pytestmark = pytest.mark.cluster


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def client(ctl: Ctl, told: list[str]) -> Client:
    return mmrlhf.Client(
        kubeconfig=str(ctl.cluster.kubeconfig), namespace=ctl.namespace, tell=told.append
    )


def digits(**changes: object) -> mmrlhf.Job:
    return parse_job(changed(**changes), source="test")


def test_a_job_is_submitted_changed_and_looked_at(client: Client, ctl: Ctl) -> None:
    first = client.submit(digits())
    assert (first.name, first.namespace, first.phase) == ("demo", ctl.namespace, "")
    assert client.submit(digits()).metadata["generation"] == 1
    assert client.submit(digits(training__epochs=2)).metadata["generation"] == 2
    assert client.submit(digits(training__epochs=3), dry_run=True).spec["training"]["epochs"] == 3
    ctl.set_status("MMDPOJob", "demo", phase="Running", progress={"step": 3, "totalSteps": 9})
    now = client.status("mmdpo/demo")
    assert (now.phase, now.progress["step"], now.spec["training"]["epochs"]) == ("Running", 3, 2)
    assert [one.name for one in client.list("mmdpo")] == ["demo"]
    assert client.list("rtj") == []
    named = client.submit(digits(), generate_name=True)
    assert named.name.startswith("demo-")
    assert {one.name for one in client.list()} == {"demo", named.name}


def test_what_the_command_has_submitted_the_client_may_change(
    client: Client, ctl: Ctl, job_file: Callable[..., str]
) -> None:
    assert ctl("submit", "-f", job_file(name="demo", training__epochs=2)).returncode == 0
    assert client.submit(digits(training__epochs=3)).spec["training"]["epochs"] == 3


def test_suspend_resume_cancel(client: Client) -> None:
    job = client.submit(digits(runPolicy={"suspend": False}))
    assert client.suspend(job).suspended
    with pytest.raises(ConflictError, match="was set by mmrlhfctl-suspend"):
        client.submit(digits(runPolicy={"suspend": False}))
    assert not client.submit(digits(runPolicy={"suspend": False}), force=True).suspended
    assert client.cancel("demo").cancelled
    with pytest.raises(UsageError, match="is being cancelled; there is nothing to suspend"):
        client.suspend("demo")


def test_waiting_ends_with_the_job(client: Client, ctl: Ctl) -> None:
    job = client.submit(digits())
    with pytest.raises(WaitTimeoutError, match="not seen by an operator yet"):
        client.wait(job, timeout=0.5)
    ended = {
        "phase": "Succeeded",
        "conditions": [condition("Succeeded", "Completed", "done")],
        "artifacts": {"uri": "s3://bucket/x"},
        "metrics": {"accuracy": 0.5},
    }
    timer = threading.Timer(0.5, ctl.set_status, ["MMDPOJob", "demo"], ended)
    timer.start()
    done = client.wait(job, timeout=300)
    timer.join()
    assert (done.artifacts, done.metrics) == ("s3://bucket/x", {"accuracy": 0.5})
    assert client.wait(job, until="ended", timeout=300).phase == "Succeeded"
    with pytest.raises(UsageError, match="until Done: must be ended or one of"):
        client.wait(job, until="Done")


def test_a_failure_is_an_error_unless_it_is_waited_for(client: Client, ctl: Ctl) -> None:
    client.submit(digits())
    failed = [condition("Failed", "OutOfMemory", "too big")]
    ctl.set_status("MMDPOJob", "demo", phase="Failed", reason="OutOfMemory", conditions=failed)
    with pytest.raises(JobFailedError, match=r"failed \(OutOfMemory\): too big") as caught:
        client.wait("demo", until="Running", timeout=300)
    assert caught.value.job.reason == "OutOfMemory"
    assert client.wait("demo", until="failed", timeout=300).failed


def test_logs_say_what_is_missing(client: Client, ctl: Ctl) -> None:
    client.submit(digits())
    with pytest.raises(NotFoundError, match="no pods of attempt 0"):
        client.logs("demo")
    with pytest.raises(NotFoundError, match="no attempt 4 yet"):
        client.logs("demo", attempt=4)
    with pytest.raises(UsageError, match=r"rank 1: .* has nodes 0 to 0"):
        client.logs("demo", ranks=[1])


def test_following_a_job_that_has_ended_ends(client: Client, ctl: Ctl, told: list[str]) -> None:
    client.submit(digits())
    ctl.set_status("MMDPOJob", "demo", phase="Succeeded")
    assert list(client.logs("demo", follow=True, timeout=300)) == []
    assert told == ["Succeeded"]


def test_a_job_is_deleted_whole(client: Client) -> None:
    client.submit(digits())
    client.delete("demo", timeout=300)
    with pytest.raises(NotFoundError, match="no job named demo"):
        client.status("demo")


def test_the_server_has_the_last_word(client: Client, ctl: Ctl) -> None:
    body = changed()
    body["metadata"]["labels"] = {"not a label": "x"}
    job = digits()
    object.__setattr__(job.metadata, "labels", body["metadata"]["labels"])
    job.metadata.model_fields_set.add("labels")
    with pytest.raises(RejectedError, match="not a label"):
        client.submit(job)
