"""``submit`` against a real API server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from mmrlhf_api import KINDS
from mmrlhf_api.crd import crd
from tests.cli.remote.conftest import Ctl, replaced
from tests.cli.test_cost import keep_runs
from tests.unit.api.specimens import changed

pytestmark = pytest.mark.cluster

File = Callable[..., str]


def names(ctl: Ctl) -> list[str]:
    return [item["metadata"]["name"] for item in ctl.cluster.api.get(ctl.path("MMDPOJob"))["items"]]


def test_a_file_is_created_then_unchanged_then_configured(ctl: Ctl, job_file: File) -> None:
    file = job_file(runPolicy__maxRestarts=2)
    name = "mmdpojob.mmrlhf.io/digits"
    for arguments, told in (
        ([], f"{name} created\n"),
        ([], f"{name} unchanged\n"),
        (["--set", "spec.runPolicy.maxRestarts=4"], f"{name} configured\n"),
        (["-o", "name"], f"{name}\n"),
    ):
        done = ctl("submit", "-f", file, *arguments)
        assert (done.returncode, done.stdout, done.stderr) == (0, told, "")
    body = ctl.cluster.api.get(ctl.path("MMDPOJob", "digits"))
    assert body["spec"]["runPolicy"]["maxRestarts"] == 2
    assert body["spec"]["training"]["seed"] == 0  # the server's default
    (entry,) = body["metadata"]["managedFields"]
    assert (entry["manager"], entry["operation"]) == ("mmrlhfctl", "Apply")
    assert "f:seed" not in json.dumps(entry["fieldsV1"])


def test_a_new_job_notes_the_span_that_it_is_submitted_in(ctl: Ctl, job_file: File) -> None:
    file = job_file()
    first, second = (f"00-{trace * 32}-00f067aa0ba902b7-01" for trace in "ab")
    for span, told in ((first, "created"), (second, "unchanged"), ("", "unchanged")):
        done = ctl("submit", "-f", file, TRACEPARENT=span)
        assert (done.stdout, done.stderr) == (f"mmdpojob.mmrlhf.io/digits {told}\n", "")
        noted = ctl.cluster.api.get(ctl.path("MMDPOJob", "digits"))["metadata"]["annotations"]
        assert noted == {"mmrlhf.io/traceparent": first}
    done = ctl("submit", "-f", file, "--generate-name", "-o", "name", TRACEPARENT="nonsense")
    name = done.stdout.strip().rpartition("/")[2]
    assert "annotations" not in ctl.cluster.api.get(ctl.path("MMDPOJob", name))["metadata"]


def test_several_jobs_come_from_standard_input(ctl: Ctl) -> None:
    one, two = changed(metadata__name="one"), changed("ClusterSampleJob", metadata__name="two")
    done = ctl("submit", "-f", "-", stdin=f"{yaml.safe_dump(one)}---\n{yaml.safe_dump(two)}")
    assert done.stdout.splitlines() == [
        "mmdpojob.mmrlhf.io/one created",
        "clustersamplejob.mmrlhf.io/two created",
    ]


def test_dry_runs_leave_nothing_behind(ctl: Ctl, job_file: File) -> None:
    file = job_file()
    done = ctl("submit", "-f", file, "--dry-run=client", KUBECONFIG="/nowhere")
    assert (done.returncode, done.stdout) == (0, "mmdpojob.mmrlhf.io/digits valid (dry run)\n")
    done = ctl("submit", "-f", file, "--dry-run=server", "-o", "yaml")
    assert yaml.safe_load(done.stdout)["spec"]["runPolicy"]["maxRestarts"] == 3
    done = ctl("submit", "-f", file, "--dry-run=server")
    assert done.stdout == "mmdpojob.mmrlhf.io/digits created (server dry run)\n"
    assert names(ctl) == []


def test_a_dry_run_says_what_the_job_will_take_and_cost(
    ctl: Ctl, job_file: File, tmp_path: Path
) -> None:
    """By earlier runs in its store, at the price that a job of its pool has."""
    keep_runs(tmp_path / "store")
    for name, price, pool in (("dear", 9.0, {"nodePool": "h800"}), ("like", 3.0, {})):
        ctl.job(name=name, **pool)
        ctl.set_status("MMDPOJob", name, price={"gpuHour": price, "currency": "EUR"})
    file = job_file(
        artifacts__uri=str(tmp_path / "store"),
        model__uri="s3://base/m",
        training={"epochs": 2, "queriesPerStep": 8},
    )
    done = ctl("submit", "-f", file, "--dry-run=server")
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 1), done.stderr
    first, paid, *_ = done.stderr.splitlines()
    assert first.startswith(f"forecast for MMDPOJob {ctl.namespace}/digits: about 4.00 GPU-hours")
    assert paid.strip() == "about 12.00 EUR (6.00 EUR to 18.00 EUR)"


def test_a_diff_shows_what_would_change_and_changes_nothing(ctl: Ctl, job_file: File) -> None:
    file = job_file()
    new = ctl("submit", "-f", file, "--diff")
    assert new.returncode == 0
    assert "+kind: MMDPOJob" in new.stdout
    assert names(ctl) == []
    ctl("submit", "-f", file)
    changes = ctl("submit", "-f", file, "--diff", "--set", "spec.runPolicy.maxRestarts=4")
    lines = [line for line in changes.stdout.splitlines()[2:] if line[0] in "+-"]
    assert lines == ["-    maxRestarts: 3", "+    maxRestarts: 4"]
    same = ctl("submit", "-f", file, "--diff")
    assert (same.returncode, same.stdout) == (0, "")
    assert "nothing would change" in same.stderr


def test_generated_names_are_new_each_time(ctl: Ctl, job_file: File) -> None:
    file = job_file()
    made = {ctl("submit", "-f", file, "--generate-name", "-o", "name").stdout for _ in range(2)}
    assert len(made) == 2
    assert len(names(ctl)) == 2
    assert all(name.startswith("digits-") and len(name) == 12 for name in names(ctl))


def test_a_conflict_is_explained_and_can_be_forced(ctl: Ctl, job_file: File) -> None:
    file = job_file(runPolicy__maxRestarts=2)
    ctl("submit", "-f", file)
    body = changed(runPolicy__maxRestarts=5)
    body["metadata"]["name"] = "digits"
    ctl.cluster.api.apply(ctl.path("MMDPOJob", "digits"), body, manager="argo")
    done = ctl("submit", "-f", file)
    assert (done.returncode, done.stdout) == (2, "")
    first, second = done.stderr.splitlines()
    where = f"MMDPOJob {ctl.namespace}/digits"
    assert first == f"error: {where}: spec.runPolicy.maxRestarts: was set by argo to another value"
    assert "--force-conflicts" in second
    forced = ctl("submit", "-f", file, "--force-conflicts")
    assert forced.stdout == "mmdpojob.mmrlhf.io/digits configured\n"


def test_what_the_server_rejects_is_told_by_field(ctl: Ctl, job_file: File) -> None:
    """The CRDs of another version may be stricter than the types here."""
    strict = crd(KINDS["MMDPOJob"], cel=False)
    schema = strict["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    training = schema["properties"]["spec"]["properties"]["training"]["properties"]
    training["epochs"]["maximum"] = 10
    file = job_file(training__epochs=11)
    with replaced(ctl, strict):
        done = ctl("submit", "-f", file, "--dry-run=server")
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    where = f"error: MMDPOJob {ctl.namespace}/digits"
    assert line.startswith(f"{where}: rejected by the cluster: spec.training.epochs: ")
    assert "less than or equal to 10" in line  # the rest is up to the server's version


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--set", "spec.trainig.epochs=1"], 2, "did you mean training?"),
        (["--set", "spec.training.epochs=0"], 2, "must be at least 1 (given: 0)"),
        (
            ["--set", "metadata.namespace=other"],
            2,
            "the file says namespace other, and --namespace",
        ),
    ],
)
def test_a_wrong_file_is_not_submitted(
    ctl: Ctl, job_file: File, arguments: list[str], code: int, message: str
) -> None:
    done = ctl("submit", "-f", job_file(), *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr
    assert names(ctl) == []


def test_a_namespace_that_is_not_there_is_named(ctl: Ctl, job_file: File) -> None:
    done = ctl("submit", "-f", job_file(), "-n", "moon")
    assert (done.returncode, done.stdout) == (3, "")
    assert "there is no namespace moon in the cluster at https://" in done.stderr


def test_a_suspended_job_stays_so_and_it_is_said(ctl: Ctl, job_file: File) -> None:
    file = job_file()
    ctl("submit", "-f", file)
    assert ctl("suspend", "digits").returncode == 0
    done = ctl("submit", "-f", file)
    assert done.stdout == "mmdpojob.mmrlhf.io/digits unchanged\n"
    assert "is suspended; mmrlhfctl resume lets it run" in done.stderr
    explicit = ctl("submit", "-f", job_file(runPolicy__suspend=False))
    assert explicit.returncode == 2
    assert "spec.runPolicy.suspend: was set by mmrlhfctl-suspend" in explicit.stderr


def test_waiting_ends_with_the_job(ctl: Ctl, job_file: File) -> None:
    running = ctl.start("submit", "-f", job_file(), "--wait")
    running.wait_for("not seen by an operator yet", stream="stderr")
    ctl.set_status("MMDPOJob", "digits", phase="Running", reason="AllPodsRunning")
    running.wait_for("Running (AllPodsRunning)", stream="stderr")
    ctl.set_status(
        "MMDPOJob", "digits", phase="Succeeded", artifacts={"uri": "s3://b/k"}, metrics={"a": 0.5}
    )
    assert running.end() == 0
    title = f"MMDPOJob {ctl.namespace}/digits"
    assert running.out.splitlines() == [
        "mmdpojob.mmrlhf.io/digits created",
        *(f"{title} succeeded", "artifacts: s3://b/k", "a: 0.5"),
    ]


def test_a_job_that_fails_fails_the_command(ctl: Ctl, job_file: File) -> None:
    ctl.job()
    failed = {
        "type": "Failed",
        "status": "True",
        "reason": "OutOfMemory",
        "message": "digits-0-1 ran out of memory",
        "lastTransitionTime": "2026-11-23T12:00:00Z",
    }
    ctl.set_status("MMDPOJob", "digits", phase="Failed", reason="OutOfMemory", conditions=[failed])
    done = ctl("submit", "-f", job_file(), "--wait", "--force-conflicts")
    assert done.returncode == 1
    assert "failed (OutOfMemory): digits-0-1 ran out of memory" in done.stderr


def test_a_wait_has_its_time_and_can_be_left(ctl: Ctl, job_file: File) -> None:
    done = ctl("submit", "-f", job_file(), "--wait", "--timeout", "1s")
    assert done.returncode == 4
    assert "did not come within 1 s" in done.stderr
    running = ctl.start("submit", "-f", job_file(), "--wait")
    running.wait_for("not seen by an operator yet", stream="stderr")
    assert running.interrupt() == 130
    assert "detached; MMDPOJob" in running.err
    assert "is kept and goes on" in running.err
    assert names(ctl) == ["digits"]
