"""Types, limits and defaults of a schema node in the words that people read."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["default_text", "element", "limits", "type_text"]

Node = dict[str, Any]

_TECHNICAL = 2**31 - 1
"""Bounds from here on only keep numbers inside 32 or 53 bits; they say nothing to a reader."""


def element(node: Node) -> Node:
    """Return what a list holds, or else the node itself."""
    return element(node["items"]) if node.get("type") == "array" else node


def type_text(node: Node) -> str:
    """Return the type: ``string``, ``[]object``, ``map[string]number``, ``quantity``."""
    if node.get("x-kubernetes-int-or-string"):
        return "quantity"
    if node.get("type") == "array":
        return f"[]{type_text(node['items'])}"
    if isinstance(node.get("additionalProperties"), dict):
        return f"map[string]{type_text(node['additionalProperties'])}"
    return str(node.get("type", "object"))


def limits(node: Node) -> list[str]:
    """Return the values that a node takes: choices and bounds."""
    found: list[str] = []
    if "enum" in node:
        found.append(" | ".join(node["enum"]))
    if "minimum" in node:
        found.append(f"{'>' if node.get('exclusiveMinimum') else '>='} {node['minimum']:g}")
    if "maximum" in node and node["maximum"] < _TECHNICAL:
        found.append(f"{'<' if node.get('exclusiveMaximum') else '<='} {node['maximum']:g}")
    return found


def default_text(node: Node) -> str | None:
    """Return the default; None where there is none, or it is an object made of its fields'."""
    value = node.get("default")
    if value is None or isinstance(value, dict):
        return None
    return f"{value:g}" if isinstance(value, float) else json.dumps(value).strip('"')
