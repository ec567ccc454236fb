"""A reward model from its training to the margins that it gives, all in an object store."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from mmrlhf.archive.lineage import trace_uri
from mmrlhf_api.lineage import State, Store
from mmrlhf_jobs.__main__ import main
from tests.jobs.training.world import World
from tests.s3.conftest import Bucket
from tests.s3.test_training import by_file

STEPS = 2
Files = dict[str, bytes]


def align_by_a_trained_judge(world: World, inputs: str, artifacts: dict[str, str]) -> str:
    """Train a reward model, then align by its margins; returns the URI of the reward model."""
    data = {
        "train": {"uri": f"{inputs}/data/train.jsonl"},
        "evaluation": {"uri": f"{inputs}/data/heldout.jsonl"},
    }
    common: dict[str, Any] = {
        "artifacts": artifacts,
        "model": {"uri": f"{inputs}/model"},
        "data": data,
        "training__maxSteps": STEPS,
        "checkpoint": {"everySteps": 1},
    }
    judge = world.reward_job(**common, benchmark=data["evaluation"])
    judge["metadata"]["uid"] = "judge-1"
    assert main(["reward", "--job", str(world.write_job(judge))]) == 0
    model = f"{artifacts['uri']}/default/judge/judge-1/model"
    aligned = world.job(**common, reward={"modelUri": model})
    aligned["metadata"]["uid"] = "tiny-1"
    assert main(["mmdpo", "--job", str(world.write_job(aligned))]) == 0
    return model


def files(folder: Path) -> Files:
    """Contents by name; the scores are kept by a digest that knows where the base model was."""
    return {
        re.sub(r"(?<=cache/reward/)\w+/\w+", "-", str(path.relative_to(folder))): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


@pytest.mark.usefixtures("own_signals")
def test_a_reward_model_in_the_store_is_trained_loaded_and_used(
    template: World, bucket: Bucket, tmp_path: Path
) -> None:
    """The same files and figures as on a disk, and nothing of it on the disk."""
    local = World.copy(template, tmp_path / "local")
    align_by_a_trained_judge(local, str(local.folder), {"uri": str(local.folder / "artifacts")})

    bucket.server.upload_folder(template.folder / "data", bucket.name, "inputs/data")
    bucket.server.upload_folder(template.folder / "model", bucket.name, "inputs/model")
    remote = World(tmp_path / "remote")
    remote.folder.mkdir()
    uri = align_by_a_trained_judge(
        remote,
        f"{bucket.uri}/inputs",
        {
            "uri": f"{bucket.uri}/artifacts",
            "endpoint": bucket.server.endpoint,
            "region": bucket.server.region,
        },
    )
    assert uri.startswith("s3://")
    assert [path.name for path in remote.folder.iterdir()] == ["job.yaml"]

    tiny = f"{bucket.uri}/artifacts/default/tiny/tiny-1"
    graph = trace_uri(tiny, store=Store(bucket.server.endpoint, bucket.server.region))
    roles = {one.role: one for one in graph.origins(tiny)}
    judge = uri.removesuffix("/model")
    assert roles["reward.modelUri"].origin == judge
    assert [one.role for one in graph.origins(judge)][:2] == ["model.uri", "data.train.uri"]
    assert set(graph.states()) == {State.SAME}

    fetched = tmp_path / "fetched"
    bucket.server.download_folder(bucket.name, "artifacts", fetched)
    here, there = files(local.folder / "artifacts"), files(fetched)
    assert here.keys() == there.keys()
    for name in here:
        if "/model/" in name and not name.endswith(("/reward_model.json", "/COMMITTED")):
            assert here[name] == there[name], name
    card = json.loads(there["default/judge/judge-1/model/reward_model.json"])
    assert card["base"] == f"{bucket.uri}/inputs/model"

    for run in ("judge/judge-1", "tiny/tiny-1"):
        ours, theirs = (json.loads(f[f"default/{run}/manifest.json"]) for f in (here, there))
        assert ours["metrics"] == theirs["metrics"]
        assert ours["steps"] == STEPS
    rewards = json.loads(there["default/tiny/tiny-1/manifest.json"])["rewards"]
    assert rewards["pairs"] == 75
    local = json.loads(here["default/tiny/tiny-1/manifest.json"])["rewards"]
    assert by_file(rewards) == by_file(local)
    assert "cache/reward/-/reward.parquet" in there
