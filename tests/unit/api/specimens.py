"""Smallest valid job files, and the means to change one field."""

from __future__ import annotations

import copy
from typing import Any

from mmrlhf_api import parse_job
from mmrlhf_api.kinds.step_catalog import STEPS

__all__ = ["ENDPOINT", "MINIMAL", "PARTS", "changed", "job", "step"]

_TRAINING = {
    "artifacts": {"uri": "s3://bucket/runs"},
    "model": {"uri": "/data/models/tiny"},
    "data": {"train": {"uri": "/data/train.jsonl"}},
}

MINIMAL: dict[str, dict[str, Any]] = {
    "MMDPOJob": {**_TRAINING, "reward": {"scoresUri": "/data/scores.parquet"}},
    "RewardTrainJob": dict(_TRAINING),
    "ClusterSampleJob": {
        "artifacts": {"uri": "/data/out"},
        "sources": [{"name": "web", "uri": "/data/corpora/web"}],
        "target": 1000,
        "embedding": {"model": {"uri": "/data/models/clip"}},
    },
    "StepJob": {
        "artifacts": {"uri": "s3://bucket/runs"},
        "step": "score",
        "score": {"model": "/data/judge", "data": "/data/train.jsonl"},
    },
}
"""Required fields of each kind's spec."""


ENDPOINT = {"name": "m", "baseUrl": "http://models.example.org/v1", "model": "m"}

PARTS: dict[str, dict[str, Any]] = {
    "score": MINIMAL["StepJob"]["score"],
    "bench": {"records": "/data/bench.jsonl", "scores": "/data/scores.parquet"},
    "responses": {"records": "/data/queries.jsonl", "endpoints": [ENDPOINT]},
    "critiques": {"records": "/data/commented.jsonl", "endpoint": ENDPOINT},
    "answers": {"records": "/data/queries.jsonl", "policy": "/data/policy"},
    "preferences": {"records": "/data/heldout.jsonl", "policy": "/data/policy"},
    "lmms-eval": {"tasks": ["mme"], "policy": "/data/policy"},
    "safety": {
        "judges": [{"name": "words", "template": {}}],
        "tasks": [
            {
                "name": "nsfw",
                "records": "/data/nsfw.jsonl",
                "judge": "words",
                "measures": ["asr"],
            }
        ],
        "responses": "/data/answers.jsonl",
    },
    "gate": {
        "require": {"criteria": [{"name": "bench", "measure": "outcomes", "figure": "right"}]},
        "candidate": ["/data/candidate.json"],
        "champion": ["/data/champion.json"],
    },
    "import": {"format": "trl", "source": "/data/pairs.jsonl"},
    "export": {"format": "trl", "records": "/data/records.jsonl"},
    "annotate-export": {"tool": "argilla", "queries": "/data/queries.jsonl"},
    "annotate-import": {
        "tool": "argilla",
        "answers": "/data/answers.json",
        "key": "/data/key.jsonl",
    },
    "improve": {
        "queries": "/data/queries.jsonl",
        "policy": "/data/policy",
        "reward": "/data/judge",
    },
    "compare": {
        "records": "/data/queries.jsonl",
        "candidate": "/data/new.jsonl",
        "champion": "/data/old.jsonl",
        "endpoint": ENDPOINT,
    },
    "report": {"models": [{"name": "policy", "safety": "/data/safety.json"}]},
    "prune": {"last": 5},
}
"""Required fields of each step that a StepJob runs."""


def step(name: str, /, **part: Any) -> dict[str, Any]:
    """Changes that make a minimal StepJob run a step, with some fields of its part changed."""
    parts = {"score": None} if name != "score" else {}
    return {"step": name, **parts, STEPS[name].part: {**PARTS[name], **part}}


def changed(kind: str = "MMDPOJob", /, **changes: Any) -> dict[str, Any]:
    """Return a minimal job file with some fields changed.

    Keys are paths below spec (or metadata) with `__` between the parts; None removes a field.
    """
    data: dict[str, Any] = {
        "apiVersion": "mmrlhf.io/v1alpha1",
        "kind": kind,
        "metadata": {"name": "demo"},
        "spec": copy.deepcopy(MINIMAL[kind]),
    }
    for path, value in changes.items():
        parts = path.split("__")
        holder = data if parts[0] == "metadata" else data["spec"]
        for part in parts[:-1]:
            holder = holder.setdefault(part, {})
        if value is None:
            del holder[parts[-1]]
        else:
            holder[parts[-1]] = value
    return data


def job(kind: str = "MMDPOJob", /, **changes: Any) -> Any:
    """Return the job of `changed`, which must be valid.

    Typed loosely: its spec is of the kind that the caller named.
    """
    return parse_job(changed(kind, **changes), source="<test>")
