"""What every object of a job bears: labels, and the job as its owner, which takes it along."""

from __future__ import annotations

from typing import Any

from mmrlhf_api import Job
from mmrlhf_api.constants import API_VERSION, LABEL_JOB, LABEL_KIND, LABEL_MANAGED_BY, MANAGER

__all__ = ["labels", "metadata"]


def labels(job: Job) -> dict[str, str]:
    """Labels of everything that belongs to a job."""
    return {LABEL_MANAGED_BY: MANAGER, LABEL_KIND: job.kind, LABEL_JOB: job.metadata.name}


def metadata(job: Job, name: str) -> dict[str, Any]:
    """Metadata of an object of a job."""
    assert job.metadata.uid is not None  # jobs come from the API server here
    return {
        "name": name,
        "namespace": job.metadata.namespace,
        "labels": labels(job),
        "ownerReferences": [
            {
                "apiVersion": API_VERSION,
                "kind": job.kind,
                "name": job.metadata.name,
                "uid": job.metadata.uid,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }
