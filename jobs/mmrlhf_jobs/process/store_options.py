"""How a process reaches the object store of its job or step."""

from __future__ import annotations

import os
from collections.abc import Mapping

from mmrlhf_api import Job
from mmrlhf_api.constants import ENV_STORAGE_OUTAGE
from mmrlhf_jobs.storage.uris import StorageOptions

__all__ = ["patient_options", "storage_options"]


def storage_options(job: Job, environ: Mapping[str, str] = os.environ) -> StorageOptions:
    """How to reach the object store of a job."""
    settings, policy = job.spec.artifacts, job.spec.run_policy
    return patient_options(
        endpoint=settings.endpoint,
        region=settings.region,
        outage_seconds=policy.storage_outage_seconds,
        environ=environ,
    )


def patient_options(
    *,
    endpoint: str | None,
    region: str | None,
    outage_seconds: float,
    environ: Mapping[str, str] = os.environ,
) -> StorageOptions:
    """How to reach an object store.

    Args:
        endpoint: URL of an S3-compatible server; None is AWS itself.
        region: Its region.
        outage_seconds: How long it may be away, unless the environment says otherwise.
        environ: May say so, in ``MMRLHF_STORAGE_OUTAGE_SECONDS``.
    """
    return StorageOptions(
        endpoint=endpoint,
        region=region,
        patience=float(environ.get(ENV_STORAGE_OUTAGE, outage_seconds)),
    )
