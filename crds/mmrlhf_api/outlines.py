"""What of a schema must be as this version has it: names, types and choices of its fields."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

__all__ = ["digest_outline"]

Outline = list[Any]
"""Type, choices, outlines of the fields by name, and that of the items."""


def digest_outline(schema: Mapping[str, Any]) -> str:
    """Return a digest of the outline of a resource's schema, as hexadecimal text.

    Descriptions, rules and limits do not count, nor does ``metadata``, which API servers know by
    themselves. `schema_digests` has those of this version, so that who compares them needs none of
    the types.

    Args:
        schema: Its structural schema.
    """
    own = schema.get("properties") or {}
    fields = {name: field for name, field in own.items() if name != "metadata"}
    text = json.dumps(_outline({**schema, "properties": fields}), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _outline(schema: Mapping[str, Any]) -> Outline:
    fields = schema.get("properties") or {}
    items = schema.get("items")
    return [
        schema.get("type"),
        schema.get("enum"),
        {name: _outline(field) for name, field in fields.items()},
        _outline(items) if isinstance(items, Mapping) else None,
    ]
