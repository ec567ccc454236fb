"""A pipeline from one `kubectl apply`: from scans and rankings to a model, promoted or not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from mmrlhf_api.constants import API_VERSION
from mmrlhf_api.pipelines import RESOURCES
from tests.cluster.wait import wait_until
from tests.e2e import digits
from tests.e2e.digits import FIRST_ROUND, HELD_OUT, KEY, MODEL, RANKINGS, ROOT, SECOND_ROUND
from tests.e2e.user import User
from tests.e2e.world import BUCKET
from tests.s3.server import S3Server

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600)]

LIKED, DISLIKED = (1, 2, 3), (3, 2, 1)
"""Ranks of the answers by those who know what they do, and by those who do not."""
NEXT_YEAR = "0 0 1 1 *"
ALIAS = "digits"
ROOM = {"cpu": "850m", "memory": "2Gi", "sharedMemory": "64Mi"}
"""Resources of each job."""


@pytest.fixture(scope="module")
def scans(s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> None:
    digits.upload(tmp_path_factory.mktemp("digits"), s3)
    digits.rank(s3, FIRST_ROUND, LIKED)


def pipeline(s3: S3Server, store: str) -> dict[str, Any]:
    """Samples scans, takes in rankings, and makes of them a judge and a policy for an alias."""
    media = {"mediaRoot": f"{ROOT}/corpus"}
    train = {"train": {"uri": "${steps.rankings.records}", **media}}
    steps = {"epochs": 4, "queriesPerStep": 6, "queriesPerMicroBatch": 6}
    training = {
        "model": {"uri": MODEL},
        "data": train,
        "training": steps,
        "optimizer": {"learningRate": 0.003},
        "tracking": {"reportSamples": 0},
    }
    held_out = {"records": f"{ROOT}/heldout.jsonl", **media, "batchSize": 10}
    criterion = {"name": "people", "measure": "outcomes", "figure": "queryRight"}
    made: dict[str, tuple[str, dict[str, Any]]] = {
        "sample": (
            "ClusterSampleJob",
            {
                "sources": [{"name": "scans", "uri": f"{ROOT}/corpus", "format": "llava"}],
                "target": 8,
                "embedding": {"model": {"uri": f"{ROOT}/clip"}, "batchSize": 8},
                "clustering": {"centres": 4},
                "selection": {"shortfall": "accept"},  # short answers are all there are
                "report": {"map": False},  # it compiles for half a minute
            },
        ),
        "rankings": step(
            "annotate-import", "annotateImport", tool="label-studio", answers=RANKINGS, key=KEY
        ),
        "judge": (
            "RewardTrainJob",
            {
                **training,
                "objective": {"critique": "none"},
                "inference": {"critique": "none"},
            },
        ),
        "score": step(
            "score",
            "score",
            model="${steps.judge.model}",
            data="${steps.rankings.records}",
            **media,
        ),
        "align": ("MMDPOJob", {**training, "reward": {"scoresUri": "${steps.score.scores}"}}),
        "champion": step(
            "preferences", "preferences", policy=f"{store}/aliases/{ALIAS}.json", **held_out
        ),
        "candidate": step("preferences", "preferences", policy="${steps.align.model}", **held_out),
        "gate": step(
            "gate",
            "gate",
            require={"criteria": [criterion], "effect": 0.9},
            candidate=["${steps.candidate.results}"],
            champion=["${steps.champion.results}"],
            alias=ALIAS,
            artifact="${steps.align.model}",
        ),
    }
    return {
        "apiVersion": API_VERSION,
        "kind": "AlignmentPipeline",
        "metadata": {"name": "digits"},
        "spec": {
            "artifacts": artifacts(s3, store),
            "schedule": {
                "cron": "* * * * *",
                "skipUnchanged": True,
                "triggers": {
                    "newRankings": {
                        "uri": RANKINGS,
                        "atLeast": len(SECOND_ROUND),
                        "settleSeconds": 1,
                    }
                },
            },
            "steps": [
                {
                    "name": name,
                    "kind": kind,
                    "spec": {**spec, "resources": ROOM},
                    **({"needs": ["sample"]} if name == "rankings" else {}),
                }
                for name, (kind, spec) in made.items()
            ],
        },
    }


def artifacts(s3: S3Server, store: str) -> dict[str, str]:
    return {
        "uri": store,
        "endpoint": s3.endpoint,
        "region": s3.region,
        "credentialsSecret": "s3-credentials",
    }


def step(name: str, part: str, **told: Any) -> tuple[str, dict[str, Any]]:
    return "StepJob", {"step": name, part: told}


def test_from_rankings_to_a_promoted_model_and_no_further(
    user: User, s3: S3Server, scans: None
) -> None:
    store = f"s3://{BUCKET}/{user.namespace}"
    where = (f"--endpoint={s3.endpoint}", f"--region={s3.region}")
    user.ctl("promote", store, ALIAS, MODEL, "--reason=the first one", *where)
    written = user.folder / "digits.yaml"
    written.write_text(yaml.safe_dump(pipeline(s3, store), sort_keys=False))
    user.kubectl("apply", f"--filename={written}")

    # By the clock, from the scans to the alias; and a job beside it, which names the run's judge.
    first = run_of(user, 1)
    beside = user.folder / "score.yaml"
    beside.write_text(yaml.safe_dump(scoring(s3, store, by=f"{first}-judge"), sort_keys=False))
    user.kubectl("apply", f"--filename={beside}")
    wait_until(
        lambda: stepjob(user, "score").get("reason") == "WaitingForJob",
        timeout=60,
        what="a job that waits for the judge",
        interval=0.2,
    )
    done = steps_of(user, first)
    user.kubectl("wait", "stepjob/score", "--for=condition=Succeeded", "--timeout=1200s")
    assert accepted(user, "sj-score")["spec"]["score"]["model"] == output(done["judge"], "model")
    left = stepjob(user, "score")["artifacts"]["uri"].removeprefix(f"s3://{BUCKET}/")
    assert f"{left}/scores.parquet" in s3.keys(BUCKET, f"{left}/")
    assert all("cachedFrom" not in one for one in done.values()), done
    judged = gate(user, f"{first}-gate")
    assert (judged["status"], judged["reason"]) == ("True", "Promoted"), judged
    promoted = alias(s3, user.namespace)
    assert promoted["current"]["uri"] == output(done["align"], "model")
    assert promoted["current"]["cause"]["report"] == output(done["gate"], "report")
    assert [one["uri"] for one in promoted["history"]] == [MODEL]

    # Nothing has changed when the clock comes round again, but for the alias that it moved.
    wait_until(
        lambda: schedule(user).get("lastSkip", {}).get("reason") == "Unchanged",
        timeout=180,
        what="a run that is skipped",
        interval=0.5,
    )
    assert runs(user) == [first]

    # More rankings, by people who have the scale upside down.
    changed = json.dumps({"spec": {"schedule": {"cron": NEXT_YEAR}}})
    user.kubectl("patch", "ap/digits", "--type=merge", f"--patch={changed}")
    wait_until(
        lambda: schedule(user).get("nextScheduleTime", "").endswith("-01-01T00:00:00Z"),
        timeout=60,
        what="a clock that stands still",
        interval=0.5,
    )
    digits.rank(s3, SECOND_ROUND, DISLIKED)
    second = run_of(user, 2)
    # A run is there before its pipeline says so.
    wait_until(
        lambda: schedule(user)["lastRun"]["name"] == second,
        timeout=60,
        what="word of the second run",
        interval=0.5,
    )
    assert schedule(user)["lastRun"]["cause"] == "NewRankings"
    again = steps_of(user, second)
    assert [name for name, one in again.items() if "cachedFrom" in one] == ["sample"]
    assert again["sample"]["cachedFrom"]["run"] == first
    rejected = gate(user, f"{second}-gate")
    assert (rejected["status"], rejected["reason"]) == ("False", "Rejected"), rejected
    assert f"(0 won, 0 tied, {len(HELD_OUT)} lost)" in rejected["message"]
    assert alias(s3, user.namespace) == promoted

    # Back to the first one.
    user.ctl("rollback", store, ALIAS, "--reason=complaints", *where)
    back = alias(s3, user.namespace)
    assert (back["current"]["uri"], back["current"]["cause"]["by"]) == (MODEL, "rollback")


def scoring(s3: S3Server, store: str, *, by: str) -> dict[str, Any]:
    """Scores the held-out scans by the model of a job, which may be yet to come."""
    kind, spec = step(
        "score", "score", modelJob=by, data=f"{ROOT}/heldout.jsonl", mediaRoot=f"{ROOT}/corpus"
    )
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": {"name": "score"},
        "spec": {**spec, "artifacts": artifacts(s3, store), "resources": ROOM},
    }


def path(user: User, kind: str, name: str = "") -> str:
    plural = RESOURCES[kind].plural
    return f"/apis/{API_VERSION}/namespaces/{user.namespace}/{plural}/{name}".rstrip("/")


def runs(user: User) -> list[str]:
    """Names of all runs, the earliest first."""
    items = user.cluster.api.get(path(user, "AlignmentRun"))["items"]
    return sorted(one["metadata"]["name"] for one in items)


def run_of(user: User, number: int) -> str:
    """Wait for a run, counted from 1; returns its name."""
    wait_until(lambda: len(runs(user)) == number, timeout=180, what="a run", interval=0.5)
    return runs(user)[-1]


def schedule(user: User) -> dict[str, Any]:
    found = user.cluster.api.get(path(user, "AlignmentPipeline", "digits"))
    told: dict[str, Any] = found.get("status", {}).get("schedule", {})
    return told


def steps_of(user: User, run: str) -> dict[str, dict[str, Any]]:
    """Wait for the end of a run, which must be a success; returns its steps by name."""

    def status() -> dict[str, Any]:
        found = user.cluster.api.get(path(user, "AlignmentRun", run)).get("status", {})
        return found if found.get("phase") in ("Succeeded", "Failed") else {}

    ended = wait_until(status, timeout=1200, what=f"the end of {run}", interval=0.5)
    assert ended["phase"] == "Succeeded", ended["message"]
    return {one["name"]: one for one in ended["steps"]}


def stepjob(user: User, job: str) -> dict[str, Any]:
    """Its status."""
    found: dict[str, Any] = user.cluster.api.get(
        f"/apis/{API_VERSION}/namespaces/{user.namespace}/stepjobs/{job}"
    ).get("status", {})
    return found


def accepted(user: User, config_map: str) -> dict[str, Any]:
    """What the pods of a job are told to do."""
    found = user.cluster.api.get(f"/api/v1/namespaces/{user.namespace}/configmaps/{config_map}")
    told: dict[str, Any] = json.loads(found["data"]["job.json"])
    return told


def gate(user: User, job: str) -> dict[str, Any]:
    """What a gate has said."""
    (told,) = (one for one in stepjob(user, job)["conditions"] if one["type"] == "Promoted")
    found: dict[str, Any] = told
    return found


def output(done: Mapping[str, Any], name: str) -> str:
    (found,) = (one["uri"] for one in done["outputs"] if one["name"] == name)
    return str(found)


def alias(s3: S3Server, store: str) -> dict[str, Any]:
    body = s3.client.get_object(Bucket=BUCKET, Key=f"{store}/aliases/{ALIAS}.json")["Body"]
    found: dict[str, Any] = json.loads(body.read())
    return found
