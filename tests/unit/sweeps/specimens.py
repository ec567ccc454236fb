"""A sweep to change in tests."""

from __future__ import annotations

import copy
from typing import Any

from mmrlhf_api.pipelines import parse_pipeline
from mmrlhf_api.sweeps.types import Sweep
from mmrlhf_api.yamltree import Document

_SPEC: dict[str, Any] = {
    "template": {
        "kind": "MMDPOJob",
        "spec": {
            "artifacts": {"uri": "s3://team/runs"},
            "model": {"uri": "s3://team/base"},
            "data": {
                "train": {"uri": "s3://team/train.jsonl"},
                "evaluation": {"uri": "s3://team/heldout.jsonl"},
            },
            "reward": {"scoresUri": "s3://team/scores.parquet"},
            "training": {"evaluateEverySteps": 10},
        },
    },
    "parameters": [
        {"field": "objective.beta.w", "values": [0.25, 0.5]},
        {"field": "training.seed", "values": [0, 1]},
    ],
    "objective": {"metric": "afterPreferenceAccuracy"},
    "parallelism": 2,
}


def body(**changes: Any) -> dict[str, Any]:
    """A sweep as plain data; None takes a field of the spec away."""
    spec = {**copy.deepcopy(_SPEC), **changes}
    return {
        "apiVersion": "mmrlhf.io/v1alpha1",
        "kind": "Sweep",
        "metadata": {"name": "tune"},
        "spec": {key: value for key, value in spec.items() if value is not None},
    }


def template(**changes: Any) -> dict[str, Any]:
    """The template with fields of its spec changed."""
    found: dict[str, Any] = copy.deepcopy(_SPEC["template"])
    return {**found, "spec": {**found["spec"], **changes}}


def sweep(**changes: Any) -> Sweep:
    """The same, parsed for a cluster."""
    found = parse_pipeline(Document(body(**changes), {}), source="sweep", in_cluster=True)
    assert isinstance(found, Sweep)
    return found
