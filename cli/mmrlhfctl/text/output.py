"""Objects in the forms of ``-o``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mmrlhf_api.kinds import KINDS
from mmrlhfctl.text.jobs import without_noise

__all__ = ["as_json", "as_names", "as_yaml", "resource_name"]


def as_json(bodies: Sequence[Mapping[str, Any]], *, single: bool = False) -> str:
    """Return objects as JSON: one object, or a List as kubectl writes it."""
    return json.dumps(_whole(bodies, single=single), indent=2, ensure_ascii=False)


def as_yaml(bodies: Sequence[Mapping[str, Any]], *, single: bool = False) -> str:
    """Return objects as YAML; see `as_json`."""
    import yaml

    text: str = yaml.safe_dump(
        _whole(bodies, single=single), sort_keys=False, allow_unicode=True, width=100
    )
    return text


def as_names(bodies: Sequence[Mapping[str, Any]]) -> str:
    """Return ``mmdpojob.mmrlhf.io/name`` for each job, one a line."""
    return "".join(f"{resource_name(body)}\n" for body in bodies)


def resource_name(body: Mapping[str, Any]) -> str:
    """Return ``mmdpojob.mmrlhf.io/name`` for a job."""
    return f"{KINDS[body['kind']].singular}.mmrlhf.io/{body['metadata']['name']}"


def _whole(bodies: Sequence[Mapping[str, Any]], *, single: bool) -> dict[str, Any]:
    items = without_noise(bodies)
    if single and len(items) == 1:
        return items[0]
    return {"apiVersion": "v1", "kind": "List", "metadata": {}, "items": items}
