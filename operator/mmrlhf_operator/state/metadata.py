"""Metadata: who owns an object, and what of a job's labels and annotations is of use.

Others may write whatever labels and annotations the API server takes. Tools keep whole objects in
annotations, many of them, under any prefix. They are none of the operator's business and make no
job invalid: what fits a job file is kept, and the rest passed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from mmrlhf_api.constants import GROUP
from mmrlhf_api.scalars import LabelMap, StringMap

__all__ = ["owner_uid", "without_misfits"]

_MAPS: Mapping[str, TypeAdapter[dict[str, str]]] = {
    "labels": TypeAdapter(LabelMap),
    "annotations": TypeAdapter(StringMap),
}
_MOST = 64


def owner_uid(body: Mapping[str, Any]) -> str | None:
    """UID of the object that controls this one."""
    for owner in body["metadata"].get("ownerReferences") or ():
        if owner.get("controller"):
            uid: str = owner["uid"]
            return uid
    return None


def without_misfits(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return metadata whose labels and annotations all fit a job file, those of our own first."""
    kept = dict(metadata)
    for name, adapter in _MAPS.items():
        entries = kept.get(name)
        if isinstance(entries, Mapping) and not _fits(adapter, entries):
            alone = {key: value for key, value in entries.items() if _fits(adapter, {key: value})}
            first = sorted(alone, key=lambda key: (not key.startswith(f"{GROUP}/"), key))[:_MOST]
            kept[name] = {key: alone[key] for key in first}
    return kept


def _fits(adapter: TypeAdapter[dict[str, str]], entries: Mapping[str, Any]) -> bool:
    try:
        adapter.validate_python(dict(entries))
    except ValidationError:
        return False
    return True
