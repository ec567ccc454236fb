"""How a process reaches the object store of its job."""

from __future__ import annotations

import os
from collections.abc import Mapping

from mmrlhf_api import Job
from mmrlhf_api.constants import ENV_STORAGE_OUTAGE
from mmrlhf_jobs.storage.uris import StorageOptions

__all__ = ["storage_options"]


def storage_options(job: Job, environ: Mapping[str, str] = os.environ) -> StorageOptions:
    """How to reach the object store of a job."""
    settings, policy = job.spec.artifacts, job.spec.run_policy
    return StorageOptions(
        endpoint=settings.endpoint,
        region=settings.region,
        patience=float(environ.get(ENV_STORAGE_OUTAGE, policy.storage_outage_seconds)),
    )
