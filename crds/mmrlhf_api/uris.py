"""Addresses of data, models and artifacts: a path, ``file://`` or ``s3://``."""

from __future__ import annotations

from typing import Annotated

from annotated_types import MaxLen, MinLen
from pydantic import AfterValidator, ValidationInfo

from mmrlhf_api.credentials import has_password
from mmrlhf_api.rules import Rule, Ruled

__all__ = ["IN_CLUSTER", "Uri", "scheme_of"]

SCHEMES = ("file", "s3")
"""Schemes that a URI may have besides being a plain path."""

IN_CLUSTER = "in_cluster"
"""Key of pydantic's validation context: whether a job is for a cluster, and not for a laptop."""

_PLACES = ("s3://", "file:///", "/")
_PLACED = (
    "must be s3://bucket/key, file:///path or an absolute path: pods know no folder that a relative"
    " path starts from"
)


def scheme_of(uri: str) -> str:
    """Return the scheme of ``uri`` in lower case; empty for a plain path."""
    scheme, mark, _ = uri.partition("://")
    return scheme.lower() if mark else ""


def _check(uri: str, info: ValidationInfo) -> str:
    if any(character.isspace() and character != " " for character in uri) or uri != uri.strip():
        raise ValueError("must not hold line breaks or tabs, nor start or end with a space")
    scheme = scheme_of(uri)
    if has_password(uri):
        raise ValueError("must not carry credentials; name a Secret in artifacts.credentialsSecret")
    if scheme and scheme not in SCHEMES:
        raise ValueError("must be a path, file:///path or s3://bucket/key")
    if scheme == "file" and not uri[len("file://") :].startswith("/"):
        raise ValueError("a file URI needs three slashes before an absolute path: file:///path")
    if scheme == "s3":
        bucket = uri[len("s3://") :].split("/", 1)[0]
        if not bucket:
            raise ValueError("names no bucket; must be s3://bucket/key")
        if "@" in bucket or ":" in bucket:
            raise ValueError(
                "must not carry credentials or a port; name a Secret in artifacts.credentialsSecret"
            )
    if (info.context or {}).get(IN_CLUSTER) and not uri.startswith(_PLACES):
        raise ValueError(_PLACED)
    return uri


_RULE = Rule(" || ".join(f"self.startsWith('{place}')" for place in _PLACES), _PLACED)

Uri = Annotated[str, MinLen(1), MaxLen(2048), AfterValidator(_check), Ruled(_RULE)]
"""A path, ``file:///path`` or ``s3://bucket/key``; in a cluster no relative path."""
