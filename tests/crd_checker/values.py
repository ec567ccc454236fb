"""Values against a structural schema: validity and pruning, as an API server judges a default."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tests.crd_checker.schema import Node

__all__ = ["problems", "prune"]

_JSON: dict[str, tuple[type, ...]] = {
    "array": (list,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "object": (dict,),
    "string": (str,),
}


def problems(value: Any, node: Node, path: str) -> Iterator[tuple[str, str]]:
    """Yield path and message of each way in which ``value`` does not fit ``node``."""
    if value is None:
        if not node.get("nullable"):
            yield path, "null is not allowed"
        return
    kind = node.get("type")
    if node.get("x-kubernetes-int-or-string"):
        if isinstance(value, bool) or not isinstance(value, int | str):
            yield path, "must be an integer or a string"
            return
    elif kind is not None and not _is_of(value, kind):
        yield path, f"must be of type {kind}, not {type(value).__name__}"
        return
    if "enum" in node and value not in node["enum"]:
        yield path, f"{value!r} is not one of {', '.join(map(repr, node['enum']))}"
    if isinstance(value, str):
        yield from ((path, text) for text in _string(value, node))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from ((path, text) for text in _number(value, node))
    elif isinstance(value, list):
        yield from _size(len(value), node, "Items", path)
        for index, entry in enumerate(value):
            yield from problems(entry, node.get("items", {}), f"{path}[{index}]")
    elif isinstance(value, dict):
        yield from _object(value, node, path)
    yield from ((path, text) for text in _junctors(value, node))


def prune(value: Any, node: Node) -> Any:
    """Return ``value`` without the fields that ``node`` does not name."""
    if isinstance(value, list):
        return [prune(entry, node.get("items", {})) for entry in value]
    if not isinstance(value, dict):
        return value
    properties, values = node.get("properties", {}), node.get("additionalProperties")
    kept = {}
    for name, entry in value.items():
        if name in properties:
            kept[name] = prune(entry, properties[name])
        elif isinstance(values, dict):
            kept[name] = prune(entry, values)
        elif values is True or node.get("x-kubernetes-preserve-unknown-fields"):
            kept[name] = entry
    return kept


def _is_of(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _JSON.get(kind, ()))


def _string(value: str, node: Node) -> Iterator[str]:
    if len(value) < node.get("minLength", 0):
        yield f"must have at least {node['minLength']} characters"
    if "maxLength" in node and len(value) > node["maxLength"]:
        yield f"must have at most {node['maxLength']} characters"
    if "pattern" in node and re.search(node["pattern"], value) is None:
        yield f"must match {node['pattern']}"


def _number(value: float, node: Node) -> Iterator[str]:
    if "minimum" in node and (
        value < node["minimum"] or (node.get("exclusiveMinimum") and value == node["minimum"])
    ):
        yield f"is below the minimum {node['minimum']}"
    if "maximum" in node and (
        value > node["maximum"] or (node.get("exclusiveMaximum") and value == node["maximum"])
    ):
        yield f"is above the maximum {node['maximum']}"
    if "multipleOf" in node and value % node["multipleOf"]:
        yield f"is no multiple of {node['multipleOf']}"


def _size(size: int, node: Node, noun: str, path: str) -> Iterator[tuple[str, str]]:
    if size < node.get(f"min{noun}", 0):
        yield path, f"must have at least {node[f'min{noun}']} {noun.lower()}"
    if f"max{noun}" in node and size > node[f"max{noun}"]:
        yield path, f"must have at most {node[f'max{noun}']} {noun.lower()}"


def _object(value: dict[str, Any], node: Node, path: str) -> Iterator[tuple[str, str]]:
    yield from _size(len(value), node, "Properties", path)
    for name in node.get("required", ()):
        if name not in value:
            yield f"{path}.{name}", "is required"
    properties, values = node.get("properties", {}), node.get("additionalProperties")
    for name, entry in value.items():
        if name in properties:
            yield from problems(entry, properties[name], f"{path}.{name}")
        elif isinstance(values, dict):
            yield from problems(entry, values, f"{path}.{name}")


def _junctors(value: Any, node: Node) -> Iterator[str]:
    def fits(schema: Node) -> bool:
        return not any(problems(value, schema, ""))

    if not all(fits(schema) for schema in node.get("allOf", ())):
        yield "must fit all of allOf"
    if "anyOf" in node and not any(fits(schema) for schema in node["anyOf"]):
        yield "must fit one of anyOf"
    if "oneOf" in node and sum(fits(schema) for schema in node["oneOf"]) != 1:
        yield "must fit exactly one of oneOf"
    if "not" in node and fits(node["not"]):
        yield "must not fit not"
