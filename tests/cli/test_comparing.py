"""``diff``, ``clone`` and ``top``: what they make of objects and records, and of records alone."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmrlhf_api.kinds import KINDS
from mmrlhf_api.origins import Origin, make_lineage
from mmrlhfctl.text.clones import clone
from mmrlhfctl.text.sides import difference_lines, differences, side_of
from mmrlhfctl.text.top import row, totals, worth_showing
from tests.cli.remote.specimens import NOW, ago, condition, job, job_body

Command = Callable[..., subprocess.CompletedProcess[str]]


def record(body: dict[str, Any], digest: str, **more: Any) -> dict[str, Any]:
    read = Origin("data.train.uri", "s3://d/train.jsonl", "data", digest, "content", 1, 9)
    return {
        "job": body,
        "metrics": {"afterMargin": 1.25, "same": 3},
        "environment": {"image": "train:1", "packages": {"mmrlhf": "0.1.0"}},
        "lineage": make_lineage([read], attempt=0),
        **more,
    }


def test_what_was_asked_read_and_made_is_compared_with_defaults_filled_in() -> None:
    body = job_body(training={"epochs": 1}, objective={})
    spelt = job_body(training={"epochs": 2}, objective={"sftWeight": 0.0})
    default = KINDS["MMDPOJob"].model.model_validate(body).spec
    spelt["spec"]["objective"]["sftWeight"] = default.objective.sft_weight  # type: ignore[attr-defined]
    one = side_of("a", body, record(body, "1" * 64))
    other = side_of("b", spelt, record(spelt, "2" * 64, environment={"image": "train:2"}))
    found = differences(one, other)
    assert found == {
        "fields": {
            "training.epochs": ("1", "2"),
            "(image)": ("train:1", "train:2"),
            "(version)": ("0.1.0", "-"),
        },
        "inputs": {
            "data.train.uri": ("111111111111 s3://d/train.jsonl", "222222222222 s3://d/train.jsonl")
        },
        "figures": {},
    }
    head, first, *_ = map(str.split, difference_lines(one, other))
    assert (head, first) == (["FIELD", "a", "b"], ["training.epochs", "1", "2"])
    assert difference_lines(one, one) == ["nothing differs"]


def test_runs_of_pipelines_are_compared_step_by_step() -> None:
    steps = [{"name": "judge", "kind": "RewardTrainJob", "spec": {"model": {"uri": "s3://m"}}}]
    state = {"name": "judge", "phase": "Succeeded", "key": "a" * 64}
    run = {"kind": "AlignmentRun", "spec": {"steps": steps}, "status": {"steps": [state]}}
    later = json.loads(json.dumps(run))
    later["spec"]["steps"].insert(0, {"name": "first", "kind": "StepJob", "spec": {"n": [1, 2]}})
    later["status"]["steps"][0] |= {"cachedFrom": {"run": "before"}, "key": "b" * 64}
    found = differences(side_of("a", run), side_of("b", later))
    assert found["fields"]["steps[first].spec.n[1]"] == (None, "2")
    assert not [name for name in found["fields"] if "judge" in name]
    assert found["inputs"] == {"steps[judge]": ("a" * 12, "b" * 12)}
    assert found["figures"] == {"steps[judge]": ("Succeeded", "Succeeded from before")}


def test_a_clone_has_what_the_user_wrote_and_no_state() -> None:
    meta = {
        "labels": {"team": "vision", "mmrlhf.io/run": "r"},
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "note": "n"},
        "ownerReferences": [{"name": "r"}],
    }
    body = job_body(
        metadata=meta,
        status={"phase": "Failed"},
        runPolicy={"cancel": True, "suspend": True, "maxRestarts": 2},
    )
    before = json.dumps(body)
    made = clone(body, name=None, assignments=["spec.training.epochs=7"])
    assert json.dumps(body) == before
    assert made["metadata"] == {
        "generateName": "digits-",
        "namespace": "vision",
        "labels": {"team": "vision"},
        "annotations": {"note": "n"},
    }
    assert "status" not in made
    assert made["spec"]["runPolicy"] == {"maxRestarts": 2}
    assert made["spec"]["training"]["epochs"] == 7
    run = {**job_body(), "kind": "AlignmentRun", "spec": {"retry": 3, "steps": []}}
    named = clone(run, name="again", assignments=[])
    assert (named["metadata"]["name"], named["spec"]) == ("again", {"steps": []})
    with pytest.raises(ValueError, match=r"epochs: must be FIELD=VALUE"):
        clone(body, name=None, assignments=["epochs"])


def test_what_runs_stands_before_what_waits_and_the_largest_first() -> None:
    four = {"nodes": 4, "gpusPerNode": 8, "processesPerNode": 8}
    ready = [condition("Running", "AllPodsRunning")]
    progress = {"step": 3, "totalSteps": 9, "tokensPerSecond": 5123.4, "etaSeconds": 90}
    running = {"phase": "Running", "conditions": ready, "progress": progress}
    waiting = {"phase": "Pending", "pendingSince": ago(minutes=2)}
    jobs = [
        job(name="waits", status=waiting, resources=four),
        job(name="small", status=running),
        job(name="large", status=running, resources=four),
        job(name="done", status={"phase": "Succeeded"}, resources=four),
        job(name="kept", status={"phase": "Suspended"}, resources=four),
        job("StepJob", "score", status={**running, "progress": {"itemsDone": 5, "itemsTotal": 8}}),
    ]
    shown = worth_showing(jobs)
    assert [one.name for one in shown] == ["large", "small", "score", "waits", "kept"]
    cells = {one.name: [str(cell) for cell in row(one, NOW, namespace=False)] for one in shown}
    assert cells["large"][3:] == ["32", "3/9", "5123", "5m", "", "90s"]
    assert cells["waits"][3:] == ["32", "", "", "", "2m", ""]
    assert cells["kept"][3:] == ["32", "", "", "", "", ""]
    assert cells["score"][4] == "5/8"
    assert totals(shown) == "3 jobs with 32 GPUs run, 1 job with 32 GPUs wait"


def leave(folder: Path, body: dict[str, Any], digest: str) -> Path:
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps(record(body, digest)))
    return folder


def test_records_are_compared_and_cloned_without_a_cluster(
    command: Command, tmp_path: Path
) -> None:
    leave(tmp_path / "one", job_body(), "1" * 64)
    leave(tmp_path / "two", job_body(training={"epochs": 5}), "1" * 64)
    done = command("diff", "./one", "./two", "-o", "json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["fields"]["training.epochs"][1] == "5"
    assert (found["inputs"], found["figures"]) == ({}, {})
    done = command("clone", "./two", "--name", "three", "--set", "spec.training.epochs=6")
    assert done.returncode == 0, done.stderr
    (tmp_path / "three.yaml").write_text(done.stdout)
    made = yaml.safe_load(done.stdout)
    assert (made["metadata"]["name"], made["spec"]["training"]["epochs"]) == ("three", 6)
    assert command("validate", "three.yaml").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (("diff", "./one"), "name two runs", 2),
        (("diff", "./one", "./other"), "./one is of kind MMDPOJob, ./other of kind StepJob", 2),
        (("clone", "./one", "--set", "x"), "x: must be FIELD=VALUE", 2),
        (("clone", "./nowhere"), "./nowhere holds no finished run", 3),
        (("top", "mmdpo/one"), "name kinds, not jobs", 2),
    ],
)
def test_what_is_wrong_is_said(
    command: Command, tmp_path: Path, arguments: tuple[str, ...], message: str, code: int
) -> None:
    leave(tmp_path / "one", job_body(), "1" * 64)
    leave(tmp_path / "other", job_body("StepJob"), "1" * 64)
    done = command(*arguments)
    assert (done.returncode, message in done.stderr) == (code, True), done.stderr
