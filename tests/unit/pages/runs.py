"""Runs that nobody trained."""

from __future__ import annotations

import copy
from typing import Any

from mmrlhf_jobs.pages.record import RunRecord

MANIFEST: dict[str, Any] = {
    "job": {
        "kind": "MMDPOJob",
        "metadata": {"name": "align", "namespace": "team"},
        "spec": {
            "model": {"uri": "/models/base"},
            "data": {"train": {"uri": "/data/train.jsonl"}},
            "optimizer": {"learningRate": 1e-6},
            "objective": {"beta": {"strategy": "dynamic"}},
        },
    },
    "steps": 40,
    "processes": 2,
    "engine": "deepspeed-2",
    "seed": 7,
    "data": {"rows": 320},
    "attempts": [{}, {}],
    "metrics": {
        "rewardDisagreement": 0.25,
        "beforePreferenceAccuracy": 0.5,
        "afterPreferenceAccuracy": 0.75,
    },
    "rewards": {
        "pairs": 8,
        "disagreement": 0.25,
        "strongest": [{"name": "row 3", "chosen": "a", "rejected": "c", "margin": -2.5}],
        "betaHistogram": {"edges": [0.1, 0.12, 0.15], "counts": [3, 5]},
    },
    "largestLosses": [{"row": "train.jsonl, row 9", "loss": 3.25, "step": 31, "epoch": 1}],
}


def rows(steps: int = 40, *, scale: float = 1.0) -> list[dict[str, Any]]:
    """Rows of a training, with an evaluation on the way."""
    found: list[dict[str, Any]] = [
        {
            "step": step,
            "loss": scale / step,
            "margin": step / 10,
            "accuracy": 0.5,
            "beta": 0.12,
            "betaSpread": 0.01,
            "learningRate": 1e-6,
            "gradientNorm": None,
            "seconds": 2.0,
            "tokensPerSecond": 1000.0 + step,
            "peakMemoryGiB": 3.0,
        }
        for step in range(1, steps + 1)
    ]
    return [*found[:20], {"step": 20, "heldOutRewardMargin": 0.4}, *found[20:]]


def run(**changes: Any) -> RunRecord:
    """A run; `changes` are top fields of its manifest."""
    return RunRecord({**copy.deepcopy(MANIFEST), **changes}, rows())
