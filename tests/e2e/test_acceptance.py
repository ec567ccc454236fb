"""A job from `kubectl apply` to a model that loads, as a user has it.

Real parts throughout: the operator's image as its Deployment runs it, Kubernetes with a kubelet and
containerd, pods that train over gloo, an S3 server.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from transformers import AutoModelForImageTextToText

from mmrlhf_api.constants import LABEL_ATTEMPT
from tests.cluster.binaries import kubectl
from tests.cluster.wait import wait_until
from tests.e2e.platform import NAMESPACE, Platform, leader
from tests.e2e.user import User
from tests.e2e.world import BUCKET, concrete_job
from tests.s3.server import S3Server

pytestmark = pytest.mark.cluster

STEPS = 80
CHECKPOINT = re.compile(r"/checkpoints/step-0*(\d+)-[\w-]+/complete/")
WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def here(platform: Platform, s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the same file gives on this machine, by processes that talk over the loopback."""
    folder = tmp_path_factory.mktemp("here")
    env = {**s3.environment(), "XDG_STATE_HOME": str(folder / "state")}
    user = User(platform.cluster, "default", folder, env)
    write(user, concrete_job(s3))
    place = f"spec.artifacts.uri=s3://{BUCKET}/laptop"  # results in a place of their own
    told = user.ctl("run", "--local", "--file=job.yaml", "--set", place, "--output=json")
    return download(s3, json.loads(told)["artifacts"], folder / "run")


def test_the_doctor_finds_nothing_amiss(user: User) -> None:
    assert "2 of 2 replicas ready" in user.ctl("doctor")


def test_a_job_from_apply_to_a_model_that_loads(user: User, s3: S3Server, here: Path) -> None:
    write(user, concrete_job(s3))

    user.kubectl("apply", "--filename=job.yaml")
    columns = [str(kubectl()), "get", "mmdpo", "align", "--watch", "--no-headers"]
    logs = [sys.executable, "-m", "mmrlhfctl", "logs", "--follow", "align"]
    with user.watching("get", columns) as rows, user.watching("logs", logs) as log:
        user.kubectl("wait", "mmdpo/align", "--for=condition=Succeeded", "--timeout=1200s")
        assert log.end() == 0
        wait_until(lambda: "Succeeded" in rows.out.read_text(), timeout=30, what="the last row")

    # What `kubectl get` showed while it ran, and shows now.
    seen = [line.split() for line in rows.lines]
    running = [row for row in seen if row[1:3] == ["Running", "2/2"]]
    steps = [int(row[4]) for row in running if len(row) > 6]
    assert len(set(steps)) >= 2, rows.lines  # told once a second: few on a fast machine
    assert steps == sorted(steps)
    assert 0 < steps[0] < STEPS
    # The first step begins at the reference: a margin of 0, if it was seen at all.
    assert all(float(row[5]) for row in running if len(row) > 6 and int(row[4]) > 1)
    row = user.kubectl("get", "mmdpo", "align", "--no-headers").split()
    assert row[:5] == ["align", "Succeeded", "0/2", "0", str(STEPS)]
    assert float(row[5]) > 0

    # Both ranks, from their beginning to their end.
    for rank in (0, 1):
        mine = [line for line in log.lines if line.startswith(f"[align-0-{rank}] ")]
        assert any("begins" in line for line in mine), log.lines
        # torchrun has the last word where node 0 is gone before it has answered the others.
        assert any(line.endswith(f"rank {rank} of 2 has ended well") for line in mine), log.lines
    # An image without a compiler has nothing to compile.
    assert not [line for line in log.lines if "extension" in line.lower()]
    told = [line for line in log.lines if line.startswith("[align-0-0] step ")]
    assert [line.split()[2] for line in told] == [f"{n}/{STEPS}" for n in range(1, STEPS + 1)]

    # The artifact, and that of the same file on this machine.
    status = user.job("align")["status"]
    there = download(s3, status["artifacts"]["uri"], user.folder / "there")
    manifest = json.loads((there / "manifest.json").read_text())
    assert status["metrics"] == pytest.approx(manifest["metrics"])
    assert same_weights(there, here)
    loads(there)

    # Its Service goes with its end; the rest with the job, but for its artifacts.
    kept = ["pod/align-0-0", "pod/align-0-1", "configmap/mmdpo-align"]
    wait_until(lambda: kept == objects(user), timeout=60, what=", ".join(kept))
    user.kubectl("delete", "mmdpo", "align", "--wait")
    wait_until(lambda: not objects(user), timeout=60, what="an empty namespace")
    assert s3.keys(BUCKET, f"runs/{user.namespace}/align/")


def test_a_job_survives_what_happens_to_pods_and_operator(
    user: User, s3: S3Server, here: Path
) -> None:
    job = concrete_job(s3)
    job["spec"]["runPolicy"] = {"backoffSeconds": 0}
    write(user, job)
    user.kubectl("apply", "--filename=job.yaml")
    at_step(user, 11)  # early, for it goes on while others are slow to act
    working = leader(user.cluster)
    user.kubectl("delete", "pod", working, f"--namespace={NAMESPACE}", "--wait=false")
    user.kubectl("delete", "pod", "align-0-1", "--force", "--grace-period=0")
    wait_until(lambda: leader(user.cluster) not in {working, ""}, timeout=60, what="a new leader")
    at_step(user, 13, attempt=1)

    assert len(pods(user)) == 2
    user.ctl("suspend", "align")
    user.kubectl("wait", "mmdpo/align", "--for=condition=Suspended", "--timeout=1200s")
    wait_until(lambda: not pods(user), timeout=60, what="no pods")
    user.ctl("resume", "align")
    user.kubectl("wait", "mmdpo/align", "--for=condition=Succeeded", "--timeout=1200s")

    status = user.job("align")["status"]
    assert (status["attempt"], status["restarts"]) == (2, 0)
    there = download(s3, status["artifacts"]["uri"], user.folder / "there")
    attempts = json.loads((there / "manifest.json").read_text())["attempts"]
    assert [one["exit"] for one in attempts][-1] == "Succeeded"
    assert same_weights(there, here)


def test_a_cancelled_job_leaves_a_checkpoint_and_no_pods(user: User, s3: S3Server) -> None:
    job = concrete_job(s3)
    job["spec"]["resources"]["nodes"] = 1  # that two save what they have, the test before shows
    job["spec"]["training"]["epochs"] = 2000  # it must not be over before it is cancelled
    write(user, job)
    user.kubectl("apply", "--filename=job.yaml")
    at_step(user, 10)
    user.ctl("cancel", "align")
    user.kubectl("wait", "mmdpo/align", "--for=condition=Failed", "--timeout=1200s")
    wait_until(lambda: not pods(user), timeout=60, what="no pods")

    status = user.job("align")["status"]
    assert (status["phase"], status["reason"], status["restarts"]) == ("Failed", "Cancelled", 0)
    assert "artifacts" not in status or "manifest" not in status["artifacts"]
    # The processes had the time to save what they had: more steps than the last interval's.
    keys = s3.keys(BUCKET, f"runs/{user.namespace}/align/")
    saved = {int(found[1]) for key in keys if (found := CHECKPOINT.search(key))}
    assert max(saved) >= status["progress"]["step"] >= 10
    user.kubectl("delete", "mmdpo", "align", "--wait")
    wait_until(lambda: not objects(user), timeout=60, what="an empty namespace")


def write(user: User, job: dict[str, Any]) -> None:
    (user.folder / "job.yaml").write_text(yaml.safe_dump(job, sort_keys=False))


def at_step(user: User, step: int, *, attempt: int = 0) -> None:
    """Wait until an attempt has told of a step; what an earlier one told does not count."""

    def reached() -> bool:
        status = user.job("align").get("status", {})
        if (status.get("attempt"), status.get("phase")) != (attempt, "Running"):
            return False
        conditions = {one["type"]: one for one in status["conditions"]}
        since: str = conditions["Running"]["lastTransitionTime"]
        progress = status.get("progress", {})
        return bool(progress.get("updatedAt", "") > since and progress["step"] >= step)

    wait_until(reached, timeout=180, what=f"step {step} of attempt {attempt}", interval=0.3)


def pods(user: User) -> list[str]:
    """Pods, but for those of a failed attempt that have ended and stay for their logs."""
    attempt = user.job("align")["status"].get("attempt", 0)
    return [
        pod["metadata"]["name"]
        for pod in user.made("pods")
        if int(pod["metadata"]["labels"][LABEL_ATTEMPT]) == attempt
        or pod["status"].get("phase") not in {"Succeeded", "Failed"}
    ]


def objects(user: User) -> list[str]:
    """What was made for jobs."""
    return [
        f"{resource}/{found['metadata']['name']}"
        for resource in ("pod", "service", "configmap")
        for found in user.made(f"{resource}s")
    ]


def download(s3: S3Server, uri: str, folder: Path) -> Path:
    s3.download_folder(BUCKET, uri.removeprefix(f"s3://{BUCKET}/"), folder)
    return folder


def same_weights(one: Path, other: Path) -> bool:
    """Whether two models are the same to the last bit."""
    return (one / "model" / WEIGHTS).read_bytes() == (other / "model" / WEIGHTS).read_bytes()


def loads(folder: Path) -> None:
    model = AutoModelForImageTextToText.from_pretrained(folder / "model")
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())
