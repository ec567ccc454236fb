"""Writes a report and a comparison of made-up runs, with real photographs, to look at.

::

    python -m tests.unit.pages.pictures FOLDER
"""

from __future__ import annotations

import math
import random
import sys
from pathlib import Path
from typing import Any

from PIL import Image
from sklearn.datasets import load_sample_images

from mmrlhf_jobs.pages.comparison import render_comparison
from mmrlhf_jobs.pages.record import RunRecord
from mmrlhf_jobs.pages.run_report import Sample, render_report
from mmrlhf_jobs.training.samples import shrink

_STEPS = 800


def _rows(seed: int, rate: float) -> list[dict[str, Any]]:
    draw, rows = random.Random(seed), list[dict[str, Any]]()
    for step in range(1, _STEPS + 1):
        left, warm = math.exp(-step / 300), min(1.0, step / 80)
        rows.append(
            {
                "step": step,
                "loss": 0.15 + 0.7 * left + draw.gauss(0, 0.03),
                "preferenceLoss": 0.1 + 0.6 * left + draw.gauss(0, 0.03),
                "supervisedLoss": 1.2 - step / 2000 + draw.gauss(0, 0.05),
                "margin": step / 300 * (1 + seed / 9) + draw.gauss(0, 0.2),
                "accuracy": min(1.0, 0.5 + step / 1500 + draw.gauss(0, 0.04)),
                "beta": 0.12 + draw.gauss(0, 0.004),
                "betaSpread": 0.01 + abs(draw.gauss(0, 0.002)),
                "learningRate": rate * warm * (1 + math.cos(math.pi * step / _STEPS)) / 2,
                "gradientNorm": abs(draw.gauss(2, 0.5)),
                "seconds": 2.0,
                "tokensPerSecond": 52_000 + draw.gauss(0, 900),
                "peakMemoryGiB": 71.2 if step > 3 else 60.0,
            }
        )
        if step % 100 == 0:
            rows.append(
                {"step": step, "heldOutPreferenceAccuracy": 0.6 + step / (4000 + 900 * seed)}
            )
    return rows


def _run(name: str, seed: int, rate: float, strategy: str) -> RunRecord:
    held = {"PreferenceAccuracy": 0.62, "PreferenceMargin": 2.1, "RewardMargin": 1.0}
    manifest = {
        "job": {
            "kind": "MMDPOJob",
            "metadata": {"name": name, "namespace": "made-up"},
            "spec": {
                "model": {"uri": "s3://team/models/base"},
                "data": {"train": {"uri": "s3://team/data/train.jsonl"}},
                "optimizer": {"learningRate": rate},
                "objective": {"beta": {"strategy": strategy}},
            },
        },
        "steps": _STEPS,
        "processes": 8,
        "engine": "deepspeed-2",
        "data": {"rows": 25_600},
        "attempts": [{}],
        "metrics": {
            f"{when}{key}": value * (1 if when == "before" else 1.25 + seed / 50)
            for when in ("before", "after")
            for key, value in held.items()
        },
        "rewards": {
            "pairs": 102_000,
            "disagreement": 0.081,
            "betaHistogram": {
                "edges": [0.1 + 0.005 * edge for edge in range(11)],
                "counts": [12, 4, 5, 8, 12, 20, 18, 15, 9, 3],
            },
            "strongest": [
                {"name": f"row {7 * n}", "chosen": "a", "rejected": "c", "margin": n / 5 - 5}
                for n in range(6)
            ],
        },
        "largestLosses": [
            {"row": f"train.jsonl, row {37 * n}", "loss": 9 - 0.3 * n, "step": 500 + n, "epoch": 1}
            for n in range(8)
        ],
    }
    return RunRecord(manifest, _rows(seed, rate))


def main(folder: Path) -> None:
    """Entry point of the command line."""
    photographs = [shrink(Image.fromarray(pixels)) for pixels in load_sample_images().images]
    samples = [
        Sample("What is in this picture?", [photographs[0]], "A picture.", "A temple by a lake."),
        Sample("Which flower is it?", [photographs[1]], "It is red.", "It is a dahlia."),
    ]
    runs = {
        "dynamic": _run("dynamic", 1, 1e-6, "dynamic"),
        "fixed": _run("fixed", 2, 5e-6, "fixed"),
    }
    page = render_report(runs["dynamic"], samples=samples, sample_tokens=128)
    (folder / "report.html").write_text(page, encoding="utf-8")
    (folder / "compare.html").write_text(render_comparison(runs), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
