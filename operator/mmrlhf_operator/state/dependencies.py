"""Which job a job names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmrlhf_api import KINDS
from mmrlhf_operator.state.store import Key

__all__ = ["dependency"]


def dependency(body: Mapping[str, Any]) -> Key | None:
    """Return the job that a job names, valid or not; None when it names none."""
    kind = KINDS.get(body.get("kind", ""))
    named = None if kind is None else kind.named(body.get("spec"))
    if named is None:
        return None
    need, name = named
    return Key(need.kind, body["metadata"]["namespace"], name)
