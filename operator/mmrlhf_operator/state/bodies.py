"""What is kept of a job as the API server has it: packed, and without what nobody reads.

Thousands of jobs are kept, and whoever may create them decides how large they are. What others
noted about an object (managed fields, kubectl's own copy) is left out, a spec that is too large is
never accepted and so not kept either, and the rest is compressed.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmrlhf_api.sizes import MAX_SPEC_BYTES, size_problem, spec_size

__all__ = [
    "TOO_LARGE",
    "PackedJob",
    "pack_text",
    "trim",
    "unpack_text",
    "without_managed_fields",
    "without_notes",
]

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
"""kubectl's own notes; a copy of the spec that says nothing about it."""
TOO_LARGE = "mmrlhf.io/too-large"
"""In the body of a job that was trimmed of a spec that is too large: its bytes."""

_LEVEL = 1
"""Fast: it is done at each event."""


@dataclass(frozen=True, kw_only=True)
class PackedJob:
    """A job, packed.

    Attributes:
        uid: Its identity.
        version: Version of the object.
        content: The rest.
    """

    uid: str
    version: str
    content: bytes

    @classmethod
    def pack(cls, body: Mapping[str, Any]) -> PackedJob:
        """Pack an object of the API server; see `trim`."""
        metadata, text = body["metadata"], _as_text(without_notes(body))
        if len(text) > MAX_SPEC_BYTES:  # or else its spec is no longer either
            text = _as_text(trim(body))
        return cls(
            uid=metadata["uid"],
            version=metadata["resourceVersion"],
            content=pack_text(text),
        )

    def body(self) -> dict[str, Any]:
        """The object, as it was trimmed."""
        body: dict[str, Any] = json.loads(unpack_text(self.content))
        return body


def _as_text(body: Mapping[str, Any]) -> str:
    """An object as JSON in ASCII, which has at least as many bytes as any other way has."""
    return json.dumps(body, separators=(",", ":"))


def trim(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a job without what nobody reads; of a spec that is too large, ``runPolicy`` alone.

    Such a job is refused by the bytes that it had (`TOO_LARGE`), and yet can be suspended and
    cancelled.
    """
    trimmed = without_notes(body)
    size = spec_size(body.get("spec"))
    if TOO_LARGE not in body and size_problem(size) is not None:
        spec = body.get("spec")
        policy = spec.get("runPolicy") if isinstance(spec, Mapping) else None
        kept = policy if isinstance(policy, Mapping) else {}
        switches = {name: kept[name] for name in ("suspend", "cancel") if kept.get(name) is True}
        trimmed |= {"spec": {"runPolicy": switches}, TOO_LARGE: size}
    return trimmed


def without_notes(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a job without what the server and kubectl note of who wrote it."""
    noted = without_managed_fields(body)
    metadata = noted["metadata"]
    if "annotations" in metadata:
        annotations = metadata["annotations"] or {}
        metadata["annotations"] = {k: v for k, v in annotations.items() if k != _LAST_APPLIED}
    return noted


def without_managed_fields(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return any object without what the server notes of who wrote which field."""
    metadata = {key: value for key, value in body["metadata"].items() if key != "managedFields"}
    return {**body, "metadata": metadata}


def pack_text(text: str) -> bytes:
    """Compress a text."""
    return zlib.compress(text.encode("utf-8", "surrogatepass"), _LEVEL)


def unpack_text(content: bytes) -> str:
    """Return a text that was compressed by `pack_text`."""
    return zlib.decompress(content).decode("utf-8", "surrogatepass")
