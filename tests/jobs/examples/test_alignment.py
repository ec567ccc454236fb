"""Alignment works: on held-out data, the aligned model prefers the better answers, for 3 seeds.

The base model takes minutes to supervise; it is kept under ``~/.cache/mmrlhf/digits``, by a digest
of the code that makes it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from examples.digits.generate import generate
from mmrlhf_api import job_json, load_job

ROOT = Path(__file__).resolve().parents[3]
MADE_BY = ("examples/digits", "jobs/mmrlhf_jobs/models", "jobs/mmrlhf_jobs/data", "constraints.txt")


def code_digest() -> str:
    total = hashlib.sha256()
    for name in MADE_BY:
        root = ROOT / name
        paths = [root] if root.is_file() else sorted(root.rglob("*.py"))
        for path in paths:
            # What asks and reports does not change what is made.
            if path.name not in {"run.py", "evaluate.py", "answers.py"}:
                total.update(path.read_bytes())
    return total.hexdigest()[:16]


@pytest.fixture(scope="session")
def digits() -> Path:
    """Folder with the data and the supervised base model of the example."""
    folder = Path.home() / ".cache" / "mmrlhf" / "digits" / code_digest()
    if not folder.is_dir():
        arriving = folder.with_name(f".{folder.name}.{os.getpid()}")
        shutil.rmtree(arriving, ignore_errors=True)
        generate(arriving / "data", train=2000, heldout=400, seed=0)
        subprocess.run(
            [
                *(sys.executable, "-m", "examples.digits.supervise"),
                *("--data", str(arriving / "data"), "--out", str(arriving / "base")),
            ],
            cwd=ROOT,
            check=True,
        )
        arriving.rename(folder)
    return folder


def align(digits: Path, folder: Path, *, seed: int) -> dict[str, Any]:
    """Run the example's job on half of the training data; returns its metrics."""
    job = load_job(
        ROOT / "examples" / "digits" / "job-dynamic.yaml",
        overrides=[
            f"spec.model.uri={digits / 'base'}",
            f"spec.data.train.uri={digits / 'data/train.jsonl'}",
            "spec.data.train.fraction=0.5",
            f"spec.data.evaluation.uri={digits / 'data/heldout.jsonl'}",
            f"spec.reward.scoresUri={digits / 'data/rewards/train.parquet'}",
            f"spec.artifacts.uri={folder / 'artifacts'}",
            f"spec.training.seed={seed}",
            "spec.training.epochs=1",
        ],
    )
    path = folder / f"job-{seed}.json"
    path.write_text(job_json(job))
    subprocess.run([sys.executable, "-m", "mmrlhf_jobs", "mmdpo", "--job", str(path)], check=True)
    manifests = (folder / "artifacts").glob("default/*/*/manifest.json")
    (manifest,) = [
        content
        for content in (json.loads(found.read_text()) for found in manifests)
        if content["seed"] == seed
    ]
    metrics: dict[str, Any] = manifest["metrics"]
    return metrics


@pytest.mark.timeout(1500)
def test_held_out_preferences_improve_for_every_seed(digits: Path, tmp_path: Path) -> None:
    results = [align(digits, tmp_path, seed=seed) for seed in range(3)]
    for metrics in results:
        assert metrics["beforePairs"] > 1500
        assert metrics["beforeRewardMargin"] == 0.0
        gain = metrics["afterPreferenceAccuracy"] - metrics["beforePreferenceAccuracy"]
        assert gain > 0.10, metrics
        assert metrics["afterPreferenceMargin"] > metrics["beforePreferenceMargin"] + 2.0
        assert metrics["afterRewardAccuracy"] > 0.75
