"""What the estimate of memory says, against tensors that are really there."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mmrlhf_api import MMDPOJob, TrainJob
from mmrlhf_jobs.__main__ import main
from mmrlhf_jobs.models import load_model
from mmrlhf_jobs.training.memory.advice import advise
from mmrlhf_jobs.training.memory.estimate import Card, Estimate, estimate, peak_parts
from mmrlhf_jobs.training.memory.rows import Batch
from mmrlhf_jobs.training.memory.shape import ModelShape, make_skeleton, measure_shape
from tests.jobs.models import zoo
from tests.jobs.models.test_recomputation import Kept
from tests.jobs.models.tiny import save_tiny
from tests.jobs.training.peak_memory import TOKENS, query
from tests.jobs.training.world import World
from tests.jobs.warm import Program

FAMILIES = ("qwen2_5_vl", "qwen3_vl_moe", "qwen3_5_text", "lfm2", "mistral3", "smolvlm", "llama")
WIDE = {"hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 4}


def spec(processes: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "artifacts": {"uri": "a"},
        "model": {"uri": "m", **more.pop("model", {})},
        "data": {"train": {"uri": "d"}},
        "objective": {"beta": {"strategy": "fixed"}},
        "resources": {"processesPerNode": processes},
        **more,
    }


def told(folder: Path, spec: dict[str, Any]) -> Estimate:
    parsed = MMDPOJob.model_validate({"metadata": {"name": "x"}, "spec": spec}).spec
    shape = measure_shape(make_skeleton(folder, parsed.model), parsed)
    assert shape.counted
    return estimate(parsed, shape, Batch(TOKENS), Card(None))


@pytest.mark.parametrize("family", FAMILIES)
def test_what_layers_keep_is_counted_without_weights(family: str, tmp_path: Path) -> None:
    folder = zoo.save(family, tmp_path / "model")
    loaded = load_model(folder, dtype="float32", attention="sdpa")
    loaded.model.train()
    parsed = MMDPOJob.model_validate({"metadata": {"name": "x"}, "spec": spec()}).spec
    loaded.adapter.freeze(loaded.model, parsed.trainable)
    real, _ = Kept(loaded).count(loaded, [query(loaded)])
    for file in folder.glob("*.safetensors"):
        file.unlink()
    shape = measure_shape(make_skeleton(folder, parsed.model), parsed)
    assert shape.counted
    # What the output layer keeps is not of the layers.
    assert TOKENS * shape.kept == pytest.approx(real, rel=0.12)
    parameters = list(loaded.model.parameters())
    assert shape.trained == sum(one.numel() for one in parameters if one.requires_grad)
    assert shape.frozen == sum(one.numel() for one in parameters if not one.requires_grad)


BF16: dict[str, Any] = {"model": {"dtype": "bfloat16"}}
ALONE = (
    spec(training={"queriesPerStep": 2}),
    spec(training={"queriesPerStep": 1}, **BF16),
    spec(training={"queriesPerStep": 2, "recompute": {"languageModelEvery": 1}}),
    spec(training={"queriesPerStep": 2, "recompute": {"languageModelEvery": 2}}, **BF16),
    spec(training={"queriesPerStep": 1}, adapter={"rank": 4, "alpha": 8}),
)
PAIR = tuple(
    spec(2, training={"queriesPerStep": 4}, parallelism={"zeroStage": stage}, **more)
    for stage, more in ((1, BF16), (2, {}), (3, BF16))
)


@pytest.mark.parametrize("specs", [ALONE, PAIR], ids=["torch", "deepspeed"])
def test_the_estimate_is_the_peak_of_a_real_step(
    specs: tuple[dict[str, Any], ...], tmp_path: Path
) -> None:
    folder = save_tiny(tmp_path / "tiny", **WIDE)
    processes = specs[0]["resources"]["processesPerNode"]
    program = Program(
        "tests.jobs.training.peak_memory",
        [str(folder), json.dumps(specs)],
        os.environ,
        processes=processes,
    )
    output, errors = program.communicate()
    assert program.wait() == 0, errors
    measured = json.loads(output.splitlines()[-1])
    expected = [told(folder, one).per_process for one in specs]
    ratios = [one / other for one, other in zip(expected, measured, strict=True)]
    assert ratios == pytest.approx([1.0] * len(specs), abs=0.1), measured


CARD = Card(80 * 10**9)
"""An H100, by which the sizes of 7 billion weights below were measured."""


def of_seven_billion(folder: Path) -> None:
    """The configuration of LLaVA-OneVision-7B in a folder without weights."""
    save_tiny(folder)
    config = json.loads((folder / "config.json").read_text())
    config["text_config"] |= {
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "vocab_size": 152064,
        "layer_types": ["full_attention"] * 28,
        "max_window_layers": 28,
    }
    config["vision_config"] |= {
        "hidden_size": 1152,
        "intermediate_size": 4304,
        "num_hidden_layers": 26,
        "num_attention_heads": 16,
        "image_size": 384,
        "patch_size": 14,
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").unlink()


@pytest.mark.parametrize(("recomputed", "measured"), [(False, 65.2e9), (True, 32.5e9)])
def test_the_parts_are_those_measured_on_a_card(
    recomputed: bool, measured: float, tmp_path: Path
) -> None:
    """A forward and a backward pass of 6,516 tokens, without an optimizer, in bfloat16.

    As measured on an H100 with logits of 2,048 tokens at a time, and with all layers recomputed.
    """
    of_seven_billion(tmp_path / "model")
    asked = spec(training={"gradientCheckpointing": recomputed, "queriesPerStep": 1}, **BF16)
    parsed = MMDPOJob.model_validate({"metadata": {"name": "x"}, "spec": asked}).spec
    shape = measure_shape(make_skeleton(tmp_path / "model", parsed.model), parsed)
    parts = peak_parts(parsed, shape, Batch(6516), CARD)
    found = {one.name: one.count for one in parts}
    weights = 2 * (shape.trained + shape.frozen)
    # Without masters, gradients stay in the format of the weights.
    found["gradients"] = found.get("gradients", 0) // 2
    assert weights + sum(found.values()) == pytest.approx(measured, rel=0.06)


SEVEN = ModelShape(
    trained=7_632_601_088,
    frozen=412_986_096,
    head=544_997_376,
    head_trained=True,
    vocabulary=152_064,
    hidden=3584,
    layers=28,
    recomputed=0,
    kept=6_533_924.0,
    counted=True,
)


def seven(job: TrainJob) -> Estimate:
    """Of 7 billion weights and 6,516 tokens a query."""
    spec, shape = job.spec, SEVEN
    if spec.adapter is not None:
        shape = replace(shape, trained=40_000_000, frozen=8_000_000_000, head_trained=False)
    if spec.training.recomputed is not None:
        every = spec.training.recomputed.language_model_every
        shape = replace(shape, recomputed=len(range(0, 28, every)) if every else 0)
    batch = Batch(6516 * spec.training.queries_per_micro_batch)
    return estimate(spec, shape, batch, CARD)


def on_cards(**more: Any) -> MMDPOJob:
    resources = {"processesPerNode": 8, "gpusPerNode": 8, "memory": "512Gi"}
    changed = {**spec(**BF16), "resources": resources, **more}
    return MMDPOJob.model_validate({"metadata": {"name": "x"}, "spec": changed})


@pytest.mark.parametrize(
    ("more", "changed"),
    [
        ({}, ["parallelism.zeroStage"]),
        ({"training": {"gradientCheckpointing": True}}, []),
        (
            {"training": {"queriesPerMicroBatch": 4}},
            ["training.queriesPerMicroBatch", "parallelism.zeroStage"],
        ),
        (
            {"resources": {"processesPerNode": 1, "gpusPerNode": 1, "memory": "512Gi"}},
            ["training.recompute", "training.recompute", "adapter"],
        ),
    ],
)
def test_what_to_change_is_told_cheapest_first(more: dict[str, Any], changed: list[str]) -> None:
    job = on_cards(**more)
    found = advise(job, seven(job), seven)
    assert [field for one in found for field in one.fields] == changed
    assert not found or found[-1].estimate.fits
    assert seven(job).fits is (not found)


def test_a_node_that_cannot_load_the_model_does_not_fit() -> None:
    """Each process reads all weights: 8 times 16 GB of a node's memory. Divided, each its part."""
    resources = {"processesPerNode": 8, "gpusPerNode": 8, "memory": "64Gi"}
    job = on_cards(resources=resources, training={"gradientCheckpointing": True})
    found = seven(job)
    assert found.per_process <= found.limit
    assert found.host == pytest.approx(8 * 16.09e9 + (64 << 30) / 16, rel=0.01)
    assert not found.fits
    (change,) = advise(job, found, seven)
    assert change.fields == {"parallelism.zeroStage": 3}
    assert change.estimate.host == pytest.approx(16.09e9 + (64 << 30) / 16, rel=0.01)
    two_nodes = on_cards(resources={**resources, "nodes": 2}, parallelism={"zeroStage": 3})
    assert seven(two_nodes).host == pytest.approx(16.09e9 / 2 + (64 << 30) / 16, rel=0.01)


@pytest.mark.parametrize(
    ("offload", "bytes_of_all"),
    # Masters and two moments, 4 bytes each; and weights, 2 bytes each.
    [("optimizer", 12 * SEVEN.trained), ("parameters", 14 * SEVEN.trained + 2 * SEVEN.frozen)],
)
def test_what_is_kept_in_main_memory_is_the_nodes(offload: str, bytes_of_all: int) -> None:
    kept = seven(on_cards(parallelism={"zeroStage": 3}))
    moved = seven(on_cards(parallelism={"zeroStage": 3, "offload": offload}))
    assert kept.per_process - moved.per_process == pytest.approx(bytes_of_all / 8, rel=1e-6)
    features = (512 << 30) / 16
    assert moved.host == pytest.approx(bytes_of_all + features, rel=1e-3)
    assert kept.host < moved.host


def test_the_command_looks_into_the_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world = World.make(tmp_path, queries=4, held_out=1)
    path = world.write_job(world.job())
    assert main(["estimate", str(path), "--output", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["fits"]
    assert found["queriesLookedAt"] == 4
    assert found["perProcessBytes"] == sum(part["bytes"] for part in found["parts"])
    judged = world.write_job(world.reward_job(), "reward.yaml")
    assert main(["estimate", str(judged), "--output", "json"]) == 0
    critiques = json.loads(capsys.readouterr().out)
    assert critiques["perProcessBytes"] > found["perProcessBytes"], "they are written as well"
    assert main(["estimate", str(path), "--tokens", "100000"]) == 0
    shown = capsys.readouterr().out
    assert "200,000 tokens" in shown  # two queries a micro-batch
    assert main(["estimate", str(world.write_job(world.job(model__uri="nowhere")))]) == 2
    assert "nowhere" in capsys.readouterr().err
