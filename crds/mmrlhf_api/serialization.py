"""The canonical form of a job, and the digest of its spec."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from mmrlhf_api.base import wire_dict
from mmrlhf_api.job import Job

__all__ = ["job_dict", "job_json", "spec_digest"]

_METADATA = ("name", "namespace", "labels", "annotations", "uid", "generation")
_MUTABLE = ("runPolicy",)


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
    """Return the SHA-256 (64 hex digits) of what a job computes.

    It covers the kind and the spec except ``runPolicy``, which may change while the job runs.
    """
    data = wire_dict(job)
    spec = {key: value for key, value in data["spec"].items() if key not in _MUTABLE}
    canonical = json.dumps(
        {"kind": job.kind, "spec": spec}, sort_keys=True, separators=(",", ":"), ensure_ascii=True
    )
    return hashlib.sha256(canonical.encode()).hexdigest()
