"""Where a job writes its artifacts."""

from __future__ import annotations

from typing import Annotated

from annotated_types import MaxLen

from mmrlhf_api.base import ApiModel
from mmrlhf_api.rules import Rule
from mmrlhf_api.scalars import DnsName, Matching, Word
from mmrlhf_api.uris import Uri, scheme_of

__all__ = ["ArtifactStore"]

HttpUrl = Annotated[
    str,
    MaxLen(2048),
    Matching(r"^https?://[^\s/@]+(/\S*)?$", "a URL such as https://s3.example.org"),
]


class ArtifactStore(ApiModel):
    """Store for everything that a job leaves behind: models, checkpoints, side-cars, manifest.

    The job writes below `<uri>/<namespace>/<name>/<uid>`.
    """

    uri: Uri
    """Root of the store: a path, file:///path or s3://bucket/prefix."""
    endpoint: HttpUrl | None = None
    """URL of an S3-compatible service; without it, that of AWS."""
    region: Word | None = None
    """Region of the S3 service; without it, the client's own default."""
    credentials_secret: DnsName | None = None
    """Secret in the job's namespace whose keys (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and
    optionally AWS_SESSION_TOKEN) become environment variables of the pods."""
    ca_secret: DnsName | None = None
    """Secret in the job's namespace whose key ca.crt is trusted for the S3 service."""

    rules = (
        Rule(
            "self.uri.startsWith('s3://') || !has(self.endpoint)",
            "only an s3:// store has an endpoint; remove it or change uri",
            field="endpoint",
            check=lambda self: scheme_of(self.uri) == "s3" or self.endpoint is None,
            detail="only an s3:// store has one; remove it or change uri",
        ),
        Rule(
            "self.uri.startsWith('s3://') || !has(self.region)",
            "only an s3:// store has a region; remove it or change uri",
            field="region",
            check=lambda self: scheme_of(self.uri) == "s3" or self.region is None,
            detail="only an s3:// store has one; remove it or change uri",
        ),
    )
