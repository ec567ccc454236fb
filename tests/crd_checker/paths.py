"""Paths to fields, as rules, columns and selectable fields write them.

Source: apiextensions-apiserver ``pkg/apiserver/schema/cel/validation.go`` (ValidFieldPath).
"""

from __future__ import annotations

import re

from tests.crd_checker.schema import Node

__all__ = ["PathError", "node_at"]


class PathError(Exception):
    """A path that leads nowhere; the text says why."""


_STEP = re.compile(r"\.([^.\[\]]+)|\['((?:[^'\\]|\\.)*)'\]")


def node_at(path: str, node: Node, *, brackets: bool = True) -> Node:
    """Return the schema at ``path`` below ``node``.

    Args:
        path: Such as ``.spec.labels['a/b']``.
        node: Schema to start from.
        brackets: Whether ``['key']`` is allowed.

    Raises:
        PathError: If the path is no path of fields and map keys of the schema.
    """
    rest = path
    if not path.strip():
        raise PathError("it is empty")
    while rest:
        match = _STEP.match(rest)
        if match is None:
            raise PathError(f"expected .field or ['key'] at {rest!r}")
        if not brackets and match[1] is None:
            raise PathError("brackets are not allowed")
        name = match[1] if match[1] is not None else re.sub(r"\\(.)", r"\1", match[2])
        if "properties" in node:
            if name not in node["properties"]:
                raise PathError(f"{name!r} is no field")
            node = node["properties"][name]
        elif isinstance(node.get("additionalProperties"), dict):
            node = node["additionalProperties"]
        else:
            raise PathError(f"{name!r} is no field")
        rest = rest[match.end() :]
    return node
