"""What a step is told: one type for a file and for a command line.

A file has the wire names of the fields, the command line the same as flags: ``maxFailedFraction``
is ``--max-failed-fraction``. Fields of an inner group, such as ``storage.endpoint``, are flags of
their own name. The string under a field is its description in ``--help``.
"""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import MinLen
from pydantic import Strict, field_validator

from mmrlhf_api.amounts import Quantity
from mmrlhf_api.base import ApiModel
from mmrlhf_api.credentials import has_password
from mmrlhf_api.scalars import Seconds
from mmrlhf_jobs.features.limits import DISK, MEMORY, FeatureLimits, read_limits
from mmrlhf_jobs.process.store_options import patient_options
from mmrlhf_jobs.storage.uris import StorageOptions

__all__ = [
    "FeatureSettings",
    "JournaledSpec",
    "Place",
    "Places",
    "StepSpec",
    "StorageSettings",
]

Place = Annotated[str, MinLen(1)]
"""A path, a URL or a pattern."""

Places = Annotated[tuple[Place, ...], Strict(strict=False), MinLen(1)]
"""Several of them, at least one."""


class StorageSettings(ApiModel):
    """Where the object store of s3:// URIs is; credentials come from the environment."""

    endpoint: str | None = None
    """URL of an S3-compatible service; without it, AWS itself."""
    region: str | None = None
    """Region of the S3 service."""
    outage_seconds: Seconds = 300
    """Seconds that the store may be away before the step gives up."""

    @field_validator("endpoint")
    @classmethod
    def _without_password(cls, endpoint: str | None) -> str | None:
        if endpoint is not None and has_password(endpoint):
            raise ValueError("must not carry user:password@; credentials come from the environment")
        return endpoint

    def options(self) -> StorageOptions:
        """The same for those who read and write."""
        return patient_options(
            endpoint=self.endpoint, region=self.region, outage_seconds=self.outage_seconds
        )


class FeatureSettings(ApiModel):
    """What a step keeps of the features that frozen vision towers make, as jobs do."""

    feature_cache: Literal["on", "off"] = "on"
    """Whether what a vision tower has made of an image is kept while the step runs."""
    feature_memory: Quantity = MEMORY
    """Memory of each node for these features."""
    feature_disk: Quantity = DISK
    """Local disk of each node for these features, at most half of what is free."""

    @classmethod
    def of(cls, limits: FeatureLimits | None) -> FeatureSettings:
        """The settings that say what limits say."""
        if limits is None:
            return cls(feature_cache="off")
        return cls(feature_memory=str(limits.memory), feature_disk=str(limits.disk))

    def limits(self) -> FeatureLimits | None:
        """The same for those who keep them."""
        return read_limits(self.feature_cache, self.feature_memory, self.feature_disk)


class StepSpec(ApiModel):
    """What every step is told; each adds ``step: Literal[NAME] = NAME`` and its own."""

    storage: StorageSettings = StorageSettings()
    """How to reach an object store."""


class JournaledSpec(StepSpec):
    """A step whose results are dear, and kept one by one."""

    journal: Place | None = None
    """File that keeps what is done, to go on from and to share between runs; on a local file system
    or a mounted volume. Without it, OUT.journal."""

    def journal_of(self, out: str) -> str:
        """Where the journal of an output is: the one place that names it."""
        return self.journal or f"{out}.journal"
