"""A RewardTrainJob and the MMDPOJob that names it, applied in either order."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from tests.cluster.wait import wait_until
from tests.e2e.user import User
from tests.e2e.world import BUCKET, concrete_job
from tests.s3.server import S3Server

pytestmark = pytest.mark.cluster


@pytest.mark.parametrize("first", ["judge", "align"])
def test_the_second_job_runs_with_the_margins_of_the_first(
    user: User, s3: S3Server, first: str
) -> None:
    aligned = concrete_job(s3)
    aligned["spec"]["reward"] = {"jobName": "judge"}
    aligned["spec"]["training"]["epochs"] = 1
    jobs = {"judge": reward_job(s3), "align": aligned}
    # Two pods in one order and one in the other: the order is what differs.
    for job in jobs.values():
        job["spec"]["resources"]["nodes"] = 2 if first == "judge" else 1
    for name, job in jobs.items():
        (user.folder / f"{name}.yaml").write_text(yaml.safe_dump(job, sort_keys=False))
    (second,) = set(jobs) - {first}

    user.kubectl("apply", f"--filename={first}.yaml")
    if first == "align":
        wait_until(lambda: ready(user) is not None, timeout=60, what="a condition")
        told = ready(user)
        assert told is not None
        assert (told["status"], told["reason"]) == ("False", "WaitingForJob")
        assert "judge" in told["message"]
    user.kubectl("apply", f"--filename={second}.yaml")
    user.kubectl("wait", "rewardtrainjob/judge", "--for=condition=Succeeded", "--timeout=1200s")
    user.kubectl("wait", "mmdpo/align", "--for=condition=Succeeded", "--timeout=1200s")

    judge = json.loads(user.kubectl("get", "rewardtrainjob", "judge", "--output=json"))["status"]
    status = user.job("align")["status"]
    assert 0 <= judge["metrics"]["benchmarkAccPlus"] <= judge["metrics"]["benchmarkAcc"] <= 1
    assert 0 <= status["metrics"]["rewardDisagreement"] <= 1
    record = manifest(s3, status["artifacts"]["uri"])
    reward = record["job"]["spec"]["reward"]
    assert reward == {"modelUri": f"{judge['artifacts']['uri']}/model"}
    assert record["rewards"]["pairs"] == 75
    assert record["rewards"]["meanMargin"] != 0


def reward_job(s3: S3Server) -> dict[str, Any]:
    job = concrete_job(s3, name="judge")
    job["kind"] = "RewardTrainJob"
    spec = job["spec"]
    del spec["reward"], spec["objective"]
    spec["training"]["epochs"] = 1
    spec["inference"] = {"maxNewTokens": 4}
    spec["benchmark"] = {"uri": f"s3://{BUCKET}/data/heldout.jsonl"}
    return job


def ready(user: User) -> dict[str, Any] | None:
    conditions = user.job("align").get("status", {}).get("conditions", ())
    return next((one for one in conditions if one["type"] == "DependenciesReady"), None)


def manifest(s3: S3Server, uri: str) -> dict[str, Any]:
    key = uri.removeprefix(f"s3://{BUCKET}/") + "/manifest.json"
    content: dict[str, Any] = json.loads(
        s3.client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    )
    return content
