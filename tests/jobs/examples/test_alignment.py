"""Alignment works: on held-out data, the aligned model prefers the better answers, for 3 seeds."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from mmrlhf_api import job_json, load_job
from tests.jobs.examples.base import make_base
from tests.jobs.warm import Program

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def digits() -> Path:
    """Folder with the data and the supervised base model of the example."""
    return make_base(Path.home() / ".cache" / "mmrlhf" / "digits")


def align(digits: Path, folder: Path, *, seed: int) -> dict[str, Any]:
    """Run the example's job on a quarter of the training data; returns its metrics."""
    job = load_job(
        ROOT / "examples" / "digits" / "job-dynamic.yaml",
        overrides=[
            f"spec.model.uri={digits / 'base'}",
            f"spec.data.train.uri={digits / 'data/train.jsonl'}",
            "spec.data.train.fraction=0.25",
            f"spec.data.evaluation.uri={digits / 'data/heldout.jsonl'}",
            "spec.data.evaluation.fraction=0.5",
            f"spec.reward.scoresUri={digits / 'data/rewards/train.parquet'}",
            f"spec.artifacts.uri={folder / 'artifacts'}",
            f"spec.training.seed={seed}",
            "spec.training.epochs=1",
        ],
    )
    path = folder / f"job-{seed}.json"
    path.write_text(job_json(job))
    program = Program("mmrlhf_jobs", ["mmdpo", "--job", str(path)], os.environ)
    _, errors = program.communicate()
    assert program.wait() == 0, errors
    manifests = (folder / "artifacts").glob("default/*/*/manifest.json")
    (manifest,) = [
        content
        for content in (json.loads(found.read_text()) for found in manifests)
        if content["seed"] == seed
    ]
    metrics: dict[str, Any] = manifest["metrics"]
    return metrics


@pytest.mark.timeout(5400)  # makes the base model where none is kept: 15 minutes of a core
def test_held_out_preferences_improve_for_every_seed(digits: Path, tmp_path: Path) -> None:
    results = [align(digits, tmp_path, seed=seed) for seed in range(3)]
    for metrics in results:
        assert metrics["beforePairs"] > 1000
        assert metrics["beforeRewardMargin"] == 0.0
        gain = metrics["afterPreferenceAccuracy"] - metrics["beforePreferenceAccuracy"]
        assert gain > 0.10, metrics
        assert metrics["afterPreferenceMargin"] > metrics["beforePreferenceMargin"] + 2.0
        assert metrics["afterRewardAccuracy"] > 0.75
