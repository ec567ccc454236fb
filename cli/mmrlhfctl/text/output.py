"""Objects in the forms of ``-o``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mmrlhf_api.pipelines.resources import resource_of
from mmrlhf_api.plain_text import make_safe
from mmrlhfctl.text.jobs import without_noise

__all__ = ["as_json", "as_names", "as_object", "as_yaml", "json_text", "resource_name", "yaml_text"]


def as_json(bodies: Sequence[Mapping[str, Any]], *, single: bool = False) -> str:
    """Return objects as JSON: one object, or a List as kubectl writes it."""
    return json_text(as_object(bodies, single=single))


def json_text(whole: Mapping[str, Any]) -> str:
    """Return data as JSON that steers no terminal."""
    text = json.dumps(whole, indent=2, ensure_ascii=False)
    # What steers a terminal is escaped, which JSON reads as the same text.
    return text if _is_safe(text) else json.dumps(whole, indent=2).replace("\x7f", "\\u007f")


def as_yaml(bodies: Sequence[Mapping[str, Any]], *, single: bool = False) -> str:
    """Return objects as YAML; see `as_json`."""
    return yaml_text(as_object(bodies, single=single))


def yaml_text(whole: Mapping[str, Any]) -> str:
    """Return data as YAML that steers no terminal."""
    import yaml

    text: str = yaml.safe_dump(dict(whole), sort_keys=False, allow_unicode=True, width=100)
    if not _is_safe(text):
        text = yaml.safe_dump(dict(whole), sort_keys=False, width=100)
    return text


def as_names(bodies: Sequence[Mapping[str, Any]]) -> str:
    """Return ``mmdpojob.mmrlhf.io/name`` for each job, one a line."""
    return "".join(f"{resource_name(body)}\n" for body in bodies)


def resource_name(body: Mapping[str, Any]) -> str:
    """Return ``mmdpojob.mmrlhf.io/name`` for a job."""
    return f"{resource_of(body['kind']).singular}.mmrlhf.io/{body['metadata']['name']}"


def _is_safe(text: str) -> bool:
    return make_safe(text, lines=True) == text


def as_object(bodies: Sequence[Mapping[str, Any]], *, single: bool) -> dict[str, Any]:
    """Return the one object, or a List as kubectl writes it."""
    items = without_noise(bodies)
    if single and len(items) == 1:
        return items[0]
    return {"apiVersion": "v1", "kind": "List", "metadata": {}, "items": items}
