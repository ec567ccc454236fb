"""A model that one job published is what the next starts from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mmrlhf_jobs.models.folders import digest_folder
from mmrlhf_jobs.storage.marker import MARKER
from tests.jobs.training.world import Run, World

SHORT: dict[str, Any] = {"training__maxSteps": 2, "training__epochs": 1}


@pytest.fixture(scope="module")
def aligned(template: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """A world whose first job is done."""
    world = World.copy(template, tmp_path_factory.mktemp("aligned") / "world")
    run = world.run(world.job(**SHORT))
    assert run.code == 0, run.stderr
    return world


def again(world: World, kind: str) -> tuple[Run, Path]:
    first = world.results()
    asked = {**SHORT, "model__uri": str(first / "model")}
    if kind == "MMDPOJob":
        job = world.job(**asked)
        job["metadata"]["name"] = "second"
        return world.run(job), world.folder / "artifacts/default/second"
    return world.run(world.reward_job(**asked)), world.folder / "artifacts/default/judge"


@pytest.mark.parametrize("kind", ["MMDPOJob", "RewardTrainJob"])
def test_a_published_model_is_trained_again(aligned: World, tmp_path: Path, kind: str) -> None:
    world = World.copy(aligned, tmp_path / "world")
    run, folder = again(world, kind)
    assert run.code == 0, run.stderr
    (results,) = folder.iterdir()
    assert (results / "model" / MARKER).is_file()
    inputs = json.loads((results / "manifest.json").read_text())["inputs"]
    assert inputs["model"] == digest_folder(world.results() / "model")


def test_a_published_model_with_a_flipped_byte_is_refused(aligned: World, tmp_path: Path) -> None:
    world = World.copy(aligned, tmp_path / "world")
    weights = world.results() / "model/model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    run, _ = again(world, "MMDPOJob")
    assert run.code == 2
    assert "model.safetensors is damaged" in run.stderr
    assert run.steps == []


def test_what_cannot_be_published_is_told_before_the_first_step(world: World) -> None:
    # The configuration that is written with the model finds a folder of its name in its place.
    config = world.folder / "model/generation_config.json"
    config.unlink()
    config.mkdir()
    (config / "notes.txt").touch()
    run = world.run(world.job(**SHORT))
    assert run.code != 0
    assert run.steps == []


def test_no_secret_ends_in_the_artifacts(world: World) -> None:
    model = world.folder / "model"
    (model / ".git").mkdir()
    (model / ".git/config").write_text("url = https://user:token-of-git@example.org/x")
    run = world.run(world.job(**SHORT))
    assert run.code == 0, run.stderr
    published = list((world.results() / "model").rglob("*"))
    assert not any(b"token-of-git" in path.read_bytes() for path in published if path.is_file())
    (model / "notes.txt").symlink_to("/proc/self/environ")
    run = world.run(world.job(**SHORT, optimizer__learningRate=0.002), SECRET_KEY="SECRET-0d1c7")
    assert run.code == 2
    assert "notes.txt: leads out of the model folder" in run.stderr
    assert not any(
        b"SECRET-0d1c7" in path.read_bytes()
        for path in (world.folder / "artifacts").rglob("*")
        if path.is_file()
    )
