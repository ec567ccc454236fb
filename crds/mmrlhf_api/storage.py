"""Where a job writes its artifacts."""

from __future__ import annotations

from typing import Annotated, Self

from annotated_types import MaxLen
from pydantic import model_validator

from mmrlhf_api.base import ApiModel
from mmrlhf_api.errors import FieldError
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
            "self.uri.startsWith('s3://') || (!has(self.endpoint) && !has(self.region))",
            "only an s3:// store has endpoint and region",
        ),
    )

    @model_validator(mode="after")
    def _s3_settings_need_s3(self) -> Self:
        if scheme_of(self.uri) != "s3":
            for field, value in (("endpoint", self.endpoint), ("region", self.region)):
                if value is not None:
                    raise FieldError(field, "only an s3:// store has one; remove it or change uri")
        return self
