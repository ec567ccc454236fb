"""The canonical form of a job, and the digest of its spec."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from typing import Any

from mmrlhf_api.base import wire_dict
from mmrlhf_api.job import Job

__all__ = ["job_dict", "job_json", "run_digest", "spec_digest", "training_digest"]

_METADATA = ("name", "namespace", "labels", "annotations", "uid", "generation")
_MUTABLE = ("runPolicy",)
_PLACE = (
    "checkpoint",
    "image",
    "nodePool",
    "podTemplate",
    "resources",
    "scheduling",
    "tracking",
)


def job_dict(job: Job) -> dict[str, Any]:
    """Return a job as plain JSON data: wire names, defaults included, without status.

    Metadata is cut to what a job needs to know about itself (identity, labels, generation).
    """
    data = wire_dict(job)
    data.pop("status", None)
    data["metadata"] = {key: data["metadata"][key] for key in _METADATA if key in data["metadata"]}
    return data


def job_json(job: Job) -> str:
    """Return the canonical JSON of a job; equal jobs give equal bytes."""
    return json.dumps(job_dict(job), indent=2, sort_keys=True, ensure_ascii=True) + "\n"


def spec_digest(job: Job) -> str:
    """Return the SHA-256 (64 hex digits) of what was asked for.

    It covers the kind and the spec except ``runPolicy``, which may change while the job runs.
    """
    return _digest(job, leave_out=_MUTABLE)


def run_digest(job: Job) -> str:
    """Return the SHA-256 (64 hex digits) of what a job computes, wherever and however it runs.

    Besides ``runPolicy`` it leaves out what no result depends on: resources, placement, image,
    checkpoints and tracking. Another number of processes sums the same numbers in another order.
    """
    return _digest(job, leave_out=(*_MUTABLE, *_PLACE))


def training_digest(job: Job) -> str:
    """Return the SHA-256 (64 hex digits) of what a job learns: checkpoints go on where it is equal.

    Besides what `run_digest` leaves out, that is ``parallelism``: how a model is spread over
    processes changes the order of sums alone.
    """
    return _digest(job, leave_out=(*_MUTABLE, *_PLACE, "parallelism"))


def _digest(job: Job, *, leave_out: Collection[str]) -> str:
    data = wire_dict(job)
    spec = {key: value for key, value in data["spec"].items() if key not in leave_out}
    canonical = json.dumps(
        {"kind": job.kind, "spec": spec}, sort_keys=True, separators=(",", ":"), ensure_ascii=True
    )
    return hashlib.sha256(canonical.encode()).hexdigest()
