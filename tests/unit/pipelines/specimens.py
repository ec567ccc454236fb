"""A pipeline whose steps take what others leave."""

from __future__ import annotations

import copy
from typing import Any

from mmrlhf_api.pipelines import AlignmentPipeline, AlignmentRun, parse_pipeline
from mmrlhf_api.pipelines.freezing import freeze
from mmrlhf_api.yamltree import Document

STEPS: dict[str, dict[str, Any]] = {
    "judge": {
        "kind": "RewardTrainJob",
        "spec": {
            "model": {"uri": "s3://models/base"},
            "data": {"train": {"uri": "s3://data/${parameters.week}/train"}},
            "training": {"epochs": "${parameters.epochs}"},
        },
    },
    "score": {
        "kind": "StepJob",
        "spec": {
            "step": "score",
            "score": {"model": "${steps.judge.model}", "data": "s3://data/bench.jsonl"},
        },
    },
    "bench": {
        "kind": "StepJob",
        "spec": {
            "step": "bench",
            "bench": {"records": "s3://data/bench.jsonl", "scores": "${steps.score.scores}"},
        },
    },
    "align": {
        "kind": "MMDPOJob",
        "needs": ["bench"],
        "spec": {
            "model": {"uri": "s3://models/base"},
            "data": {"train": {"uri": "s3://data/${parameters.week}/train"}},
            "reward": {"modelUri": "${steps.judge.model}"},
        },
    },
}


def body(
    *, name: str = "weekly", steps: dict[str, dict[str, Any] | None] | None = None, **spec: Any
) -> dict[str, Any]:
    """Return a pipeline as plain data.

    Args:
        name: Its name.
        steps: Changes to steps: fields by name; None leaves the step out.
        spec: Fields of the spec.
    """
    found = {key: {"name": key, **value} for key, value in copy.deepcopy(STEPS).items()}
    for key, change in (steps or {}).items():
        if change is None:
            del found[key]
        else:
            found[key] = {"name": key, **found.get(key, {}), **change}
    return {
        "apiVersion": "mmrlhf.io/v1alpha1",
        "kind": "AlignmentPipeline",
        "metadata": {"name": name},
        "spec": {
            "artifacts": {"uri": "s3://runs"},
            "parameters": [
                {"name": "epochs", "default": 1},
                {"name": "week", "default": "2026-48"},
            ],
            "steps": list(found.values()),
            **spec,
        },
    }


def pipeline(**changes: Any) -> AlignmentPipeline:
    """Return a pipeline, which must be valid; see `body`."""
    found = parse_pipeline(Document(body(**changes), {}), source="test", in_cluster=True)
    assert isinstance(found, AlignmentPipeline)
    return found


def run(name: str = "weekly-1", **changes: Any) -> AlignmentRun:
    """Return a run of `pipeline`."""
    frozen = freeze(pipeline(**changes), name=name)
    found = parse_pipeline(Document(frozen, {}), source="test", in_cluster=True)
    assert isinstance(found, AlignmentRun)
    return found
