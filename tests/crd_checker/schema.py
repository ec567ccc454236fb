"""The nodes of an OpenAPI schema, and how an API server writes their paths."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["JUNCTORS", "Node", "child", "children", "junctions", "rules"]

Node = dict[str, Any]
"""A schema, as YAML or JSON data."""

JUNCTORS = ("allOf", "anyOf", "oneOf", "not")


def child(path: str, key: str) -> str:
    """Return the path of a property of a node."""
    return f"{path}.properties[{key}]"


def children(node: Node, path: str) -> Iterator[tuple[str, Node, str | None]]:
    """Yield path, node and property name (None for items and map values) of what is below."""
    for name, below in node.get("properties", {}).items():
        yield child(path, name), below, name
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            yield f"{path}.{key}", node[key], None


def junctions(node: Node, path: str) -> Iterator[tuple[str, Node]]:
    """Yield what ``node`` holds under allOf, anyOf, oneOf and not."""
    for key in JUNCTORS:
        if isinstance(node.get(key), list):
            for index, below in enumerate(node[key]):
                yield f"{path}.{key}[{index}]", below
        elif isinstance(node.get(key), dict):
            yield f"{path}.{key}", node[key]


def rules(node: Node, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the CEL rules of ``node`` itself."""
    for index, rule in enumerate(node.get("x-kubernetes-validations", ())):
        yield f"{path}.x-kubernetes-validations[{index}]", rule
