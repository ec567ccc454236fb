"""What a run was made from, as its record says it: ``lineage`` of ``manifest.json``.

::

    "lineage": {"version": 1, "attempt": 0, "inputs": [
        {"field": "data.train.uri", "uri": "s3://...", "content": "data",
         "digest": "9f2c...", "by": "record", "files": 1, "bytes": 48213, "run": "s3://..."}]}

The rest is in the record already: the job with its UID and generation, the digest of its spec,
image and versions of the code, and ``files``, which names all that the run left by digest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, get_args

from mmrlhf_api.contents import By

__all__ = ["Origin", "make_lineage", "read_lineage"]

_VERSION: Final = 1


@dataclass(frozen=True)
class Origin:
    """Something that a run read.

    Attributes:
        field: Wire path of the field of its job that names it, below ``spec``: its role.
        uri: Where it was.
        content: What it was read as.
        digest: Of what it held when the attempt began; None where that is not known.
        by: What the digest was found by; None without one.
        files: How many files it was.
        bytes: How large all of them were.
        run: Folder of the run that had made it, if a record listed it.
        why: Why there is no digest.
    """

    field: str
    uri: str
    content: Literal["data", "model"]
    digest: str | None = None
    by: By | None = None
    files: int = 0
    bytes: int = 0
    run: str | None = None
    why: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """As records have it: what is not known is left out."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def make_lineage(origins: Sequence[Origin], *, attempt: int) -> dict[str, Any]:
    """``lineage`` of a record.

    Args:
        origins: All that the run read.
        attempt: Attempt of the operator that made what the record is of, from 0.
    """
    return {
        "version": _VERSION,
        "attempt": attempt,
        "inputs": [origin.to_dict() for origin in origins],
    }


def read_lineage(manifest: Mapping[str, Any]) -> tuple[Origin, ...] | None:
    """What a run was made from; None for a record of an earlier version, which does not say."""
    lineage = manifest.get("lineage")
    if not isinstance(lineage, Mapping) or not isinstance(lineage.get("inputs"), list):
        return None
    return tuple(_read(one) for one in lineage["inputs"] if isinstance(one, Mapping))


def _read(one: Mapping[str, Any]) -> Origin:
    """One as it was written; what a later version or a stranger has put there is left out."""

    def text(name: str) -> str | None:
        value = one.get(name)
        return value if isinstance(value, str) else None

    def count(name: str) -> int:
        value = one.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) else 0

    by = one.get("by")
    return Origin(
        field=text("field") or "?",
        uri=text("uri") or "?",
        content="model" if one.get("content") == "model" else "data",
        digest=text("digest"),
        by=by if by in get_args(By) else None,
        files=count("files"),
        bytes=count("bytes"),
        run=text("run"),
        why=text("why"),
    )
