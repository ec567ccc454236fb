"""Jobs that keep what a frozen tower makes: figures in manifest and log, and the same bits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from mmrlhf_jobs.__main__ import main
from mmrlhf_jobs.features.disk import FeatureFolder
from tests.jobs.training.world import World

pytestmark = pytest.mark.usefixtures("one_thread")

TRAIN, HELD_OUT = 4, 2
LENGTH = {
    "training__epochs": 2,
    "training__queriesPerStep": 2,
    "training__queriesPerMicroBatch": 1,
    "training__evaluateEverySteps": 2,
}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Queries of one image each, no image twice."""
    return World.make(tmp_path_factory.mktemp("features"), queries=TRAIN, held_out=HELD_OUT)


def run(world: World, job: dict[str, Any], name: str) -> Path:
    job["metadata"]["name"] = name
    verb = {"MMDPOJob": "mmdpo", "RewardTrainJob": "reward"}[job["kind"]]
    # Reference log-probabilities and proofs of other runs would save the tower runs as well.
    job["spec"]["artifacts"]["uri"] = str(world.folder / "artifacts" / name)
    assert main([verb, "--job", str(world.write_job(job))]) == 0
    (results,) = (world.folder / "artifacts" / name / "default" / name).iterdir()
    return results


def weights(results: Path) -> dict[str, Tensor]:
    found: dict[str, Tensor] = load_file(results / "model" / "model.safetensors")
    return found


def figures(results: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((results / "manifest.json").read_text())["visionFeatures"]
    return found


@pytest.fixture(scope="module")
def kept(small: World) -> Path:
    """A run as it is by default."""
    return run(small, small.job(**LENGTH), "kept")


def test_the_tower_runs_once_for_each_image_of_a_whole_job(kept: Path) -> None:
    found = figures(kept)
    assert found["models"] == {"model": ""}
    # Proof, reference pass, two epochs, evaluation before, in between and at the end.
    assert found["misses"] == TRAIN + HELD_OUT
    assert found["hits"] >= 2 * TRAIN + HELD_OUT
    assert found["memoryBytes"] > 0
    assert found["diskBytes"] > found["memoryBytes"]
    troubles = ("damaged", "evicted", "unkept", "unwritten", "hitsFromDisk")
    assert [found[name] for name in troubles] == [0] * len(troubles)


def held_out_is_told(progress: Path, results: Path) -> None:
    """What is measured on the way goes with each later step, and is that of the record."""
    rows = [json.loads(line) for line in (results / "metrics.jsonl").read_text().splitlines()]
    (measured,) = (
        {k: v for k, v in row.items() if k.startswith("heldOut")}
        for row in rows
        if "heldOutPairs" in row
    )
    steps = [one for one in map(json.loads, progress.read_text().splitlines()) if "loss" in one]
    assert [one.get("evaluatedStep") for one in steps] == [None, None, 2, 2]
    assert all(one.items() >= measured.items() for one in steps[2:])


@pytest.mark.parametrize(
    ("limits", "trouble"),
    [
        ({"featureMemory": "1", "featureDisk": "64Mi"}, "hitsFromDisk"),
        ({"featureMemory": "1", "featureDisk": "1"}, "unkept"),
        ({"featureCache": "off"}, ""),
    ],
)
def test_limits_change_what_is_kept_and_no_bit_of_the_model(
    small: World,
    kept: Path,
    limits: dict[str, str],
    trouble: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    progress = small.folder / f"limits-{trouble}.jsonl"
    monkeypatch.setenv("MMRLHF_PROGRESS_FILE", str(progress))
    job = small.job(**LENGTH, resources=limits)
    results = run(small, job, f"limits-{trouble or 'off'}".lower())
    held_out_is_told(progress, results)
    expected = weights(kept)
    assert all(torch.equal(value, expected[name]) for name, value in weights(results).items())
    found = figures(results)
    if not trouble:
        assert found == {"models": {"model": "resources.featureCache is off"}}
        return
    assert found[trouble] > 0
    assert found["memoryBytes"] == 0
    assert (found["misses"] == TRAIN + HELD_OUT) == (trouble == "hitsFromDisk")


def test_damage_on_disk_is_mended_counted_and_told(
    small: World, kept: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put = FeatureFolder.put

    def put_and_damage(self: FeatureFolder, key: str, entry: Any) -> int:
        made = put(self, key, entry)
        with (self._folder / key).open("r+b") as file:
            file.truncate(100)
        return made

    monkeypatch.setattr(FeatureFolder, "put", put_and_damage)
    job = small.job(**LENGTH, resources={"featureMemory": "1"})
    results = run(small, job, "damaged")
    found = figures(results)
    assert found["damaged"] > TRAIN
    assert found["misses"] == TRAIN + HELD_OUT + found["damaged"]
    assert f"{found['damaged']} files were damaged and made anew" in capsys.readouterr().out
    expected = weights(kept)
    assert all(torch.equal(value, expected[name]) for name, value in weights(results).items())


def test_a_tower_that_is_trained_is_told(small: World, capsys: pytest.CaptureFixture[str]) -> None:
    job = small.job(**LENGTH, trainable={"visionTower": True})
    results = run(small, job, "trained")
    assert figures(results)["misses"] == 0
    told = "features of the model's vision tower are not kept: it is trained"
    assert figures(results)["models"] == {"model": "it is trained"}
    assert told in capsys.readouterr().out


def test_a_reward_model_scores_its_benchmark_with_what_the_training_kept(small: World) -> None:
    """Its published copy has the same tower."""
    job = small.reward_job(**{**LENGTH, "training__maxSteps": 1})
    found = figures(run(small, job, "judge"))
    assert found["models"] == {"model": "", "reward model": ""}
    # The benchmark's images are those held out, which the evaluation had seen.
    assert found["misses"] <= TRAIN + HELD_OUT
