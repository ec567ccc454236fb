"""What the margins of a trained reward model change in an alignment, against margins of scores."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mmrlhf_jobs.__main__ import main
from mmrlhf_jobs.data.records import RankedResponse
from mmrlhf_jobs.scores.keys import SidecarIdentity, record_keys
from mmrlhf_jobs.scores.table import Sidecar
from mmrlhf_jobs.scores.writer import SidecarWriter
from tests.jobs.training.world import World

STEPS = 3
WAITED = ("checkpointSeconds", "dataSeconds")
TIMED = {"seconds", "tokensPerSecond", "etaSeconds", "peakMemoryGiB", *WAITED}


@dataclass(frozen=True)
class Aligned:
    """What an MMDPOJob left.

    Attributes:
        rows: ``metrics.jsonl`` without times; every step takes the whole data set.
        weights: The aligned model.
        rewards: What the manifest says of the margins.
    """

    rows: list[dict[str, Any]]
    weights: dict[str, torch.Tensor]
    rewards: dict[str, Any]

    @classmethod
    def run(cls, world: World, name: str, reward: dict[str, str]) -> Aligned:
        """Run the same job with another source of rewards."""
        job = world.job(
            reward=reward,
            training={"epochs": STEPS, "queriesPerStep": 13, "queriesPerMicroBatch": 7},
        )
        job["metadata"]["name"] = name
        assert main(["mmdpo", "--job", str(world.write_job(job))]) == 0
        results = world.results(name)
        lines = (results / "metrics.jsonl").read_text().splitlines()
        rows = [{k: v for k, v in json.loads(line).items() if k not in TIMED} for line in lines]
        return cls(
            rows=rows,
            weights=load_file(results / "model" / "model.safetensors"),
            rewards=json.loads((results / "manifest.json").read_text())["rewards"],
        )

    def column(self, name: str) -> list[float]:
        return [row[name] for row in self.rows]

    def is_bitwise(self, other: Aligned) -> bool:
        return self.rows == other.rows and all(
            torch.equal(value, other.weights[name]) for name, value in self.weights.items()
        )


@pytest.fixture(scope="module")
def world(template: World, tmp_path_factory: pytest.TempPathFactory, own_signals: None) -> World:
    return World.copy(template, tmp_path_factory.mktemp("margins") / "world")


@pytest.fixture(scope="module")
def judge(world: World) -> Path:
    """A reward model that was trained on the critiques and ranks of the same data."""
    job = world.reward_job(optimizer__learningRate=0.003)
    del job["spec"]["benchmark"]
    assert main(["reward", "--job", str(world.write_job(job))]) == 0
    return world.results("judge") / "model"


@pytest.fixture(scope="module")
def by_score(world: World) -> Aligned:
    """Aligned by scores that come with the data: by ranks, with some against them."""
    return Aligned.run(world, "by-score", {"scoresUri": str(world.folder / "rewards.parquet")})


@pytest.fixture(scope="module")
def by_model(world: World, judge: Path) -> Aligned:
    """Aligned by the margins of the trained model."""
    return Aligned.run(world, "by-model", {"modelUri": str(judge)})


def records(world: World) -> list[RankedResponse]:
    lines = (world.folder / "data" / "train.jsonl").read_text().splitlines()
    return [RankedResponse.model_validate_json(line) for line in lines]


def margins(world: World, uri: Path) -> np.ndarray:
    """``r(y_w) - r(y_l)`` of every pair of differing rank, in the order of the file."""
    scores = Sidecar.open(str(uri), SidecarIdentity(kind="reward"))
    found = []
    for record in records(world):
        values = scores.lookup(record_keys(record))
        found += [
            values[chosen] - values[rejected]
            for chosen, mine in enumerate(record.ranks)
            for rejected, other in enumerate(record.ranks)
            if mine < other
        ]
    return np.array(found)


def beta_of(margins: np.ndarray) -> np.ndarray:
    """Paper 4.2 with its defaults."""
    raised: np.ndarray = 0.1 * (1 + 0.5 * (1 - np.exp(-0.5 * np.maximum(margins, 0))))
    return raised


def scored_by(world: World) -> Path:
    """The scores that the run with the model made, and kept."""
    (cached,) = (world.folder / "artifacts/cache/reward").glob("*/*/reward.parquet")
    return cached


def test_margins_and_betas_are_those_of_the_model(
    world: World, by_score: Aligned, by_model: Aligned
) -> None:
    given, judged = (
        margins(world, world.folder / "rewards.parquet"),
        margins(world, scored_by(world)),
    )
    assert len(given) == len(judged) == by_model.rewards["pairs"] == 75
    assert (given != judged).all()
    assert (judged > 0).mean() > 0.7, "the model has learnt its ranks"
    for run, of_run in ((by_score, given), (by_model, judged)):
        assert run.rewards["meanMargin"] == pytest.approx(of_run.mean())
        assert run.rewards["disagreements"] == (of_run < 0).sum()
        # A step takes the whole data set, so its mean is over all pairs.
        assert run.column("beta") == pytest.approx([beta_of(of_run).mean()] * STEPS)
        assert run.column("betaSpread") == pytest.approx([beta_of(of_run).std()] * STEPS)
    assert by_score.rows[0]["beta"] != pytest.approx(by_model.rows[0]["beta"], rel=0.01)
    assert by_score.rewards["betaHistogram"] != by_model.rewards["betaHistogram"]


def test_losses_and_weights_are_others(by_score: Aligned, by_model: Aligned) -> None:
    """Before the first step ``h = 0``, so beta moves the gradient and not yet the loss."""
    losses = list(zip(by_score.column("loss"), by_model.column("loss"), strict=True))
    assert losses[0][0] == losses[0][1]
    assert all(one != other for one, other in losses[1:])
    assert by_score.rows[0]["gradientNorm"] != by_model.rows[0]["gradientNorm"]
    changed = [
        name
        for name, value in by_score.weights.items()
        if not torch.equal(value, by_model.weights[name])
    ]
    assert any("language_model" in name for name in changed)
    assert not any("vision_tower" in name for name in changed)


def test_the_same_margins_give_the_same_bits(
    world: World, judge: Path, by_score: Aligned, by_model: Aligned
) -> None:
    """The control: nothing but the margins makes the difference."""
    judged = world.folder / "judged.parquet"
    data = world.folder / "data" / "train.jsonl"
    command = ["score", "--model", str(judge), "--data", str(data), "--out", str(judged)]
    assert main(command) == 0
    assert (margins(world, judged) == margins(world, scored_by(world))).all()
    assert Aligned.run(world, "by-file", {"scoresUri": str(judged)}).is_bitwise(by_model)

    given = Sidecar.open(str(world.folder / "rewards.parquet"), SidecarIdentity(kind="reward"))
    raised = world.folder / "raised.parquet"
    with SidecarWriter(str(raised), SidecarIdentity(kind="reward")) as writer:
        for index, record in enumerate(records(world)):
            writer.write(
                record_keys(record),
                given.lookup(record_keys(record)) + 8.0 * index,
                record_id=record.record_id,
                response_ids=[one.response_id for one in record.responses],
            )
    assert (margins(world, raised) == margins(world, world.folder / "rewards.parquet")).all()
    other = Aligned.run(world, "raised", {"scoresUri": str(raised)})
    assert other.is_bitwise(by_score)
    assert not other.is_bitwise(by_model)
