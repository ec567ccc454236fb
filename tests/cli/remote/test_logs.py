"""``logs`` of real pods, which are labelled as the operator's are."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from mmrlhf.client.client import Client
from mmrlhf_api.constants import LABEL_ATTEMPT, LABEL_INDEX, LABEL_JOB, LABEL_KIND
from mmrlhf_api.run_logs import LogPiece
from mmrlhf_api.runs import RunLayout
from tests.cli.remote.conftest import Ctl
from tests.cluster import images
from tests.cluster.access import Access
from tests.cluster.wait import wait_until
from tests.listening import Way

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("full_cluster")]

STEPS = 'for i in 1 2 3; do echo "attempt $A rank $R step $i"; done; '
ON_GO = "until [ -e /tmp/go ]; do sleep 0.1; done; "

Kubeconfig = Callable[..., str]


class Pods:
    """Plays the operator: pods of a job, and what its status says."""

    def __init__(self, ctl: Ctl) -> None:
        self.ctl = ctl
        self.api = ctl.cluster.api
        self.path = f"/api/v1/namespaces/{ctl.namespace}/pods"
        self.owner = ctl.job(resources={"nodes": 2})

    def start(
        self, attempt: int, script: str, *, ranks: tuple[int, ...] = (0, 1), **more: Any
    ) -> None:
        for rank in ranks:
            labels = {
                LABEL_KIND: "MMDPOJob",
                LABEL_JOB: "digits",
                LABEL_ATTEMPT: str(attempt),
                LABEL_INDEX: str(rank),
            }
            reference = {
                "apiVersion": self.owner["apiVersion"],
                "kind": "MMDPOJob",
                "name": "digits",
                "uid": self.owner["metadata"]["uid"],
                "controller": True,
            }
            variables = {"A": attempt, "R": rank}
            container = {
                "name": "job",
                "image": images.TEST.name,
                "args": [script],
                "env": [{"name": name, "value": str(value)} for name, value in variables.items()],
            }
            metadata = {
                "name": f"digits-{attempt}-{rank}",
                "labels": labels,
                "ownerReferences": [reference],
            }
            spec = {
                "containers": [container],
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 1,
                **more,
            }
            self.api.create(self.path, {"metadata": metadata, "spec": spec})

    def status(self, **status: Any) -> None:
        self.ctl.set_status("MMDPOJob", "digits", **status)

    def go(self, *names: str) -> None:
        for name in names:
            where = f"--namespace={self.ctl.namespace}"
            # The container may end before the command does, and take it along.
            self.ctl.cluster.kubectl("exec", where, name, "--", "touch", "/tmp/go", check=False)

    def wait_for(self, phase: str, *names: str) -> None:
        def reached() -> bool:
            found = [self.api.get(f"{self.path}/{name}")["status"]["phase"] for name in names]
            return set(found) == {phase}

        wait_until(reached, timeout=300, what=f"{', '.join(names)} {phase}", interval=0.2)

    def remove(self, *names: str) -> None:
        for name in names:
            self.api.delete(f"{self.path}/{name}")
        wait_until(
            lambda: not any(self.api.exists(f"{self.path}/{name}") for name in names),
            timeout=300,
            what=f"the end of {', '.join(names)}",
            interval=0.2,
        )


@pytest.fixture
def pods(full_cluster: Access, ctl: Ctl) -> Pods:
    return Pods(ctl)


def test_logs_of_pods_that_have_ended(pods: Pods, ctl: Ctl) -> None:
    pods.status(phase="Succeeded")
    pods.start(0, STEPS)
    pods.wait_for("Succeeded", "digits-0-0", "digits-0-1")

    def shown(*arguments: str) -> list[str]:
        done = ctl("logs", "digits", *arguments)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.splitlines()

    def lines(rank: int) -> list[str]:
        return [f"attempt 0 rank {rank} step {step}" for step in (1, 2, 3)]

    named = [f"[digits-0-{rank}] {line}" for rank in (0, 1) for line in lines(rank)]
    assert shown() == named
    assert shown("--rank=last") == lines(1)
    assert shown("--rank=0") == lines(0)
    assert shown("--rank=0", "--prefix") == named[:3]
    assert shown("--no-prefix", "--tail=1") == [lines(0)[2], lines(1)[2]]
    assert shown("--attempt=0") == named
    assert shown("--since=1h") == named
    wait_until(lambda: shown("--since=1s") == [], what="a second without lines", timeout=30)
    followed = ctl("logs", "digits", "-f", "--rank=1", "--attempt=0")
    assert (followed.returncode, followed.stdout.splitlines()) == (0, lines(1))
    stamped = shown("--timestamps", "--rank=0", "--tail=1")
    assert re.fullmatch(rf"\d{{4}}-\d\d-\d\dT\S+Z {lines(0)[2]}", stamped[0])
    for arguments, code, message in (
        (["--rank=2"], 2, "has nodes 0 to 1"),
        (["--previous"], 3, "first attempt"),
        (["--attempt=1"], 3, "no attempt 1 yet"),
        (["--rank=first"], 2, "must be all, last"),
        (["--since=soon"], 2, "--since"),
    ):
        done = ctl("logs", "digits", *arguments)
        assert (done.returncode, done.stdout) == (code, "")
        assert message in done.stderr


def test_logs_of_the_attempt_before_and_of_other_containers(pods: Pods, ctl: Ctl) -> None:
    fetch = {"name": "fetch", "image": images.TEST.name, "args": ["echo fetched"]}
    pods.start(0, STEPS + "exit 137", ranks=(0,), initContainers=[fetch])
    pods.wait_for("Failed", "digits-0-0")
    pods.start(1, STEPS + ON_GO, ranks=(0,), initContainers=[fetch])
    pods.wait_for("Running", "digits-1-0")
    pods.status(phase="Running", attempt=1, restarts=1)
    one = ("logs", "digits", "--rank=0")

    def lines(attempt: int) -> list[str]:
        return [f"attempt {attempt} rank 0 step {step}" for step in (1, 2, 3)]

    wait_until(
        lambda: ctl(*one, "--tail=-1").stdout.splitlines() == lines(1), timeout=60, what="the log"
    )
    for arguments, expected in (
        (["--previous"], lines(0)),
        (["--previous", "--tail=-1"], lines(0)),
        (["-c", "fetch"], ["fetched"]),
        (["--previous", "-c", "fetch"], ["fetched"]),
        (["--attempt=0", "-f", "-c", "fetch"], ["fetched"]),
    ):
        done = ctl(*one, *arguments)
        assert (done.returncode, done.stdout.splitlines()) == (0, expected), done.stderr
    for arguments, code, message in (
        (["-c", "web"], 3, "digits-1-0 has no container web; it has job, fetch"),
        (["--tail=-2"], 2, "--tail -2"),
        (["--archived", "-f"], 2, "leave -f and -c out"),
        (["--archived"], 1, "cannot read s3://bucket/runs/"),
    ):
        done = ctl(*one, *arguments, AWS_EC2_METADATA_DISABLED="true")
        assert (done.returncode, done.stdout) == (code, "")
        assert message in done.stderr


def test_archived_logs_are_read_without_any_pod(ctl: Ctl, crds: None, tmp_path: Path) -> None:
    job = ctl.job(name="kept", artifacts={"uri": str(tmp_path)}, resources={"nodes": 2})
    ctl.set_status("MMDPOJob", "kept", phase="Running", attempt=1)
    run = RunLayout.named(ctl.namespace, "kept", job["metadata"]["uid"]).within(str(tmp_path))
    for attempt in (0, 1):
        for node in (0, 1):
            path = Path(run.logs) / LogPiece(attempt, node, "20260101T000000Z-ab", 0).key
            path.parent.mkdir(parents=True)
            path.write_text(f"2026-01-01T00:00:00.5Z attempt {attempt} node {node}\n")
    for arguments, expected in (
        ([], ["[kept-1-0] attempt 1 node 0", "[kept-1-1] attempt 1 node 1"]),
        (["--previous", "--rank=1"], ["attempt 0 node 1"]),
        (["--rank=0", "--timestamps"], ["2026-01-01T00:00:00.5Z attempt 1 node 0"]),
        (["--since=1h"], []),
    ):
        done = ctl("logs", "kept", "--archived", *arguments)
        assert (done.returncode, done.stdout.splitlines(), done.stderr) == (0, expected, "")
    gone = ctl("logs", "kept", "--previous")
    assert gone.returncode == 3
    assert "--archived --attempt 0 shows what its artifact store has" in gone.stderr


def test_following_waits_for_pods_and_goes_on_over_restarts(pods: Pods, ctl: Ctl) -> None:
    pods.status(phase="Pending", reason="Unschedulable")
    running = ctl.start("logs", "-f", "digits")
    running.wait_for("Pending (Unschedulable)", stream="stderr")
    pods.start(0, STEPS + ON_GO + "echo lost $R; exit 137")
    running.wait_for("[digits-0-0] attempt 0 rank 0 step 3")
    running.wait_for("[digits-0-1] attempt 0 rank 1 step 3")
    pods.status(phase="Running", reason="AllPodsRunning")
    running.wait_for("Running (AllPodsRunning)", stream="stderr")
    pods.go("digits-0-1")
    running.wait_for("[digits-0-1] lost 1")
    # Another attempt; the operator takes the rest of the first one away.
    pods.status(phase="Restarting", reason="Killed", attempt=1, restarts=1)
    running.wait_for("Restarting (Killed)", stream="stderr")
    pods.remove("digits-0-0", "digits-0-1")
    pods.start(1, STEPS + ON_GO + "echo saved $R")
    running.wait_for("[digits-1-0] attempt 1 rank 0 step 3")
    running.wait_for("[digits-1-1] attempt 1 rank 1 step 3")
    running.wait_for("attempt 1 begins", stream="stderr")
    pods.go("digits-1-0", "digits-1-1")
    pods.wait_for("Succeeded", "digits-1-0", "digits-1-1")
    pods.status(phase="Succeeded", attempt=1)
    assert running.end() == 0
    out = running.out.splitlines()
    expected = [
        f"[digits-{attempt}-{rank}] attempt {attempt} rank {rank} step {step}"
        for attempt in (0, 1)
        for rank in (0, 1)
        for step in (1, 2, 3)
    ]
    expected += ["[digits-0-1] lost 1", "[digits-1-0] saved 0", "[digits-1-1] saved 1"]
    assert sorted(out) == sorted(expected)
    for name in ("digits-0-0", "digits-0-1", "digits-1-0", "digits-1-1"):
        mine = [line for line in out if name in line]
        assert mine == [line for line in expected if name in line]  # in their order
    assert running.err.splitlines()[-1] == f"MMDPOJob {ctl.namespace}/digits succeeded"


def test_a_connection_that_is_lost_is_made_again(
    pods: Pods, ctl: Ctl, kubeconfig: Kubeconfig
) -> None:
    """Every line comes once, whenever the connections are cut."""
    server = urlsplit(
        yaml.safe_load(ctl.cluster.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    )
    count = "i=0; while [ $i -lt 300 ]; do echo line $i; i=$((i+1)); usleep 20000; done; "
    pods.start(0, "echo ready; " + ON_GO + "rm /tmp/go; " + count + ON_GO, ranks=(0,))
    assert server.hostname is not None
    assert server.port is not None
    with Way(server.hostname, server.port) as proxy:
        path = kubeconfig(server=f"https://127.0.0.1:{proxy.port}")
        arguments = ["--rank=0", "--tail=1", "--kubeconfig", path]
        running = ctl.start("logs", "-f", "digits", *arguments)
        running.wait_for("ready\n")
        pods.go("digits-0-0")
        for mark in (20, 90, 170, 240):
            running.wait_for(f"line {mark}\n")
            proxy.cut()
        running.wait_for("line 299\n")
        pods.go("digits-0-0")
        pods.wait_for("Succeeded", "digits-0-0")
        pods.status(phase="Succeeded")
        assert running.end() == 0
        assert proxy.connections > 4
    # --tail is about what was there before, and not about what comes after a cut.
    assert running.out.splitlines() == ["ready", *(f"line {number}" for number in range(300))]
    assert "Traceback" not in running.err


def test_leaving_keeps_the_job(pods: Pods, ctl: Ctl) -> None:
    pods.status(phase="Running")
    pods.start(0, STEPS + ON_GO, ranks=(0,))
    running = ctl.start("logs", "-f", "digits")
    running.wait_for("step 3")
    assert running.interrupt() == 130
    told = running.err.splitlines()[-1]
    assert told.startswith(f"detached; MMDPOJob {ctl.namespace}/digits is kept and goes on: ")
    assert f"`mmrlhfctl logs -f mmdpo/digits -n {ctl.namespace}` attaches again" in told
    assert pods.api.get(f"{pods.path}/digits-0-0")["status"]["phase"] == "Running"


def test_a_failure_ends_the_following_with_its_message(
    pods: Pods, ctl: Ctl, job_file: Callable[..., str]
) -> None:
    file = job_file(resources={"nodes": 2})
    running = ctl.start("submit", "-f", file, "--follow")
    pods.start(0, STEPS + ON_GO + "echo row 3 is bad; exit 2")
    running.wait_for("[digits-0-0] attempt 0 rank 0 step 3")
    running.wait_for("[digits-0-1] attempt 0 rank 1 step 3")
    pods.go("digits-0-0")
    running.wait_for("[digits-0-0] row 3 is bad")
    failed = {
        "type": "Failed",
        "status": "True",
        "reason": "InvalidInput",
        "message": "data.jsonl, row 3: no responses",
        "lastTransitionTime": "2026-11-23T12:00:00Z",
    }
    # The operator stops the pods that still run.
    pods.api.delete(f"{pods.path}/digits-0-1")
    pods.status(phase="Failed", reason="InvalidInput", conditions=[failed])
    assert running.end() == 1
    assert "failed (InvalidInput): data.jsonl, row 3: no responses" in running.err
    assert "Traceback" not in running.err


def test_a_job_that_is_deleted_ends_the_following(pods: Pods, ctl: Ctl) -> None:
    pods.start(0, STEPS + ON_GO)
    running = ctl.start("logs", "-f", "digits")
    running.wait_for("[digits-0-1] attempt 0 rank 1 step 3")
    assert ctl("delete", "digits", "--timeout=600s").returncode == 0
    assert running.end() == 3
    assert running.err.splitlines()[-1] == (f"error: MMDPOJob {ctl.namespace}/digits was deleted")


def test_what_is_gone_or_not_there_yet_is_said(pods: Pods, ctl: Ctl) -> None:
    nothing = ctl("logs", "digits")
    assert nothing.returncode == 3
    assert "has no pods yet; it is not seen by an operator yet" in nothing.stderr
    pods.status(phase="Running", attempt=1)
    gone = ctl("logs", "digits", "--previous")
    assert gone.returncode == 3
    assert "the pods of attempt 0 are gone, and their logs with them" in gone.stderr
    pods.start(1, STEPS + ON_GO, ranks=(0,))
    pods.wait_for("Running", "digits-1-0")
    # A pod without an image never starts.
    container = {"name": "job", "image": "mmrlhf.test/none:1", "imagePullPolicy": "Never"}
    labels = pods.api.get(f"{pods.path}/digits-1-0")["metadata"]["labels"] | {LABEL_INDEX: "1"}
    body = {"metadata": {"name": "digits-1-1", "labels": labels}}
    pods.api.create(pods.path, {**body, "spec": {"containers": [container]}})

    def told() -> str:
        done = ctl("logs", "digits")
        assert done.returncode == 0
        assert "[digits-1-0] attempt 1 rank 0 step 3" in done.stdout
        return done.stderr if "ErrImageNeverPull" in done.stderr else ""

    words = wait_until(told, timeout=300, what="the missing image", interval=1)
    assert words.startswith("digits-1-1 has no log yet (ErrImageNeverPull: ")


def test_the_sdk_reads_and_follows_the_same_lines(pods: Pods, ctl: Ctl) -> None:
    told: list[str] = []
    client = Client(
        kubeconfig=str(ctl.cluster.kubeconfig), namespace=ctl.namespace, tell=told.append
    )
    pods.status(phase="Running")
    pods.start(0, STEPS + ON_GO + "echo done", ranks=(1,))
    following = client.logs("digits", follow=True, ranks=[1], timeout=600)
    lines = [next(following) for _ in range(3)]
    assert [line.text for line in lines] == [f"attempt 0 rank 1 step {step}" for step in (1, 2, 3)]
    assert {(line.pod, line.attempt, line.rank) for line in lines} == {("digits-0-1", 0, 1)}
    pods.go("digits-0-1")
    pods.wait_for("Succeeded", "digits-0-1")
    pods.status(phase="Succeeded")
    assert [line.text for line in following] == ["done"]
    assert told == ["Running", "Succeeded"]
    read = list(client.logs("digits", tail=2))
    assert [line.text for line in read] == ["attempt 0 rank 1 step 3", "done"]
    assert all(line.time for line in read)
