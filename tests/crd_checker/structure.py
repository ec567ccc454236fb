"""Whether a schema is structural.

Source: apiextensions-apiserver ``pkg/apiserver/schema/validation.go`` (ValidateStructural) and
``pkg/apis/apiextensions/validation/validation.go``; Kubernetes docs, "Custom Resources",
specifying a structural schema.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.crd_checker.faults import Fault, Sort
from tests.crd_checker.schema import Node, child, children, junctions

__all__ = ["structure_faults"]

TYPES = frozenset({"array", "boolean", "integer", "number", "object", "string"})
INT_OR_STRING = [{"type": "integer"}, {"type": "string"}]

# What a node may say of values, in junctors too; the rest of what it may say; what it may not.
_VALUES = frozenset({
    "allOf", "anyOf", "enum", "exclusiveMaximum", "exclusiveMinimum", "format", "maxItems",
    "maxLength", "maxProperties", "maximum", "minItems", "minLength", "minProperties", "minimum",
    "multipleOf", "not", "oneOf", "pattern", "required", "uniqueItems",
})  # fmt: skip
_SHAPE = frozenset({
    "additionalProperties", "default", "description", "example", "externalDocs", "items",
    "nullable", "properties", "title", "type", "x-kubernetes-embedded-resource",
    "x-kubernetes-int-or-string", "x-kubernetes-list-map-keys", "x-kubernetes-list-type",
    "x-kubernetes-map-type", "x-kubernetes-preserve-unknown-fields", "x-kubernetes-validations",
})  # fmt: skip
_FORBIDDEN = frozenset({
    "$ref", "$schema", "additionalItems", "definitions", "dependencies", "id", "patternProperties",
})  # fmt: skip
_AT_ROOT = frozenset({
    "description", "type", "format", "title", "maximum", "exclusiveMaximum", "minimum",
    "exclusiveMinimum", "maxLength", "minLength", "pattern", "maxItems", "minItems", "uniqueItems",
    "multipleOf", "required", "items", "properties", "externalDocs", "example",
    "x-kubernetes-preserve-unknown-fields", "x-kubernetes-validations",
})  # fmt: skip


def structure_faults(root: Node, path: str, *, status: bool) -> Iterator[Fault]:
    """Yield what keeps ``root``, the schema of a version, from being structural.

    Args:
        root: Value of ``openAPIV3Schema``.
        path: Its path in the CustomResourceDefinition.
        status: Whether the version has the status subresource.
    """
    if root.get("type", "object") != "object":
        yield _fault(f"{path}.type", "must be object at the root")
    if root.get("nullable"):
        yield _fault(f"{path}.nullable", "cannot be true at the root")
    if root.get("additionalProperties") is not None:
        yield _fault(f"{path}.additionalProperties", "must not be used at the root")
    for key in root if status else ():
        if key not in _AT_ROOT and key != "additionalProperties":
            yield _fault(f"{path}.{key}", "must not be at the root with the status subresource")
    metadata = root.get("properties", {}).get("metadata", {})
    # name and generateName, and what values they may have
    for key in set(metadata) - {"type", "properties", "default"} - _VALUES:
        yield _fault(child(path, "metadata"), f"must not specify {key}: metadata is known already")
    for name in set(metadata.get("properties", {})) - {"name", "generateName"}:
        yield _fault(
            child(path, "metadata"), f"must specify name and generateName only, not {name}"
        )
    yield from _node(root, path, resource=True)


def _fault(path: str, message: str) -> Fault:
    return Fault(path, message, Sort.STRUCTURE)


def _node(node: Node, path: str, *, resource: bool = False) -> Iterator[Fault]:
    yield from _keywords(node, path)
    yield from _type(node, path)
    yield from _extensions(node, path)
    if resource or node.get("x-kubernetes-embedded-resource"):
        yield from _resource(node, path)
    if "pattern" in node:
        yield from _pattern(node["pattern"], f"{path}.pattern")
    allowed = [INT_OR_STRING] if node.get("x-kubernetes-int-or-string") else []
    yield from _junctions(node, node, path, allowed)
    for below_path, below, _ in children(node, path):
        yield from _node(below, below_path)


def _keywords(node: Node, path: str) -> Iterator[Fault]:
    for key in node:
        if key in _FORBIDDEN:
            yield _fault(f"{path}.{key}", f"{key} is not supported")
        elif key not in _VALUES and key not in _SHAPE:
            yield _fault(f"{path}.{key}", "unknown field; servers drop or refuse it")
    if node.get("uniqueItems"):
        yield _fault(f"{path}.uniqueItems", "cannot be true: it would take quadratic time")
    for key in ("exclusiveMinimum", "exclusiveMaximum"):
        if not isinstance(node.get(key, True), bool):
            yield _fault(f"{path}.{key}", "must be true or false, beside minimum and maximum")
    if node.get("properties") and node.get("additionalProperties") not in (None, True):
        yield _fault(
            f"{path}.additionalProperties", "properties and additionalProperties exclude each other"
        )


def _type(node: Node, path: str) -> Iterator[Fault]:
    kind = node.get("type")
    untyped = node.get("x-kubernetes-int-or-string") or node.get(
        "x-kubernetes-preserve-unknown-fields"
    )
    if kind is None and not untyped:
        yield _fault(f"{path}.type", "must not be empty")
    elif kind is not None and kind not in TYPES:
        yield _fault(f"{path}.type", f"{kind!r} is not one of {', '.join(sorted(TYPES))}")
    if node.get("x-kubernetes-int-or-string") and kind is not None:
        yield _fault(f"{path}.type", "must be empty if x-kubernetes-int-or-string is true")
    if kind == "array" and "items" not in node:
        yield _fault(f"{path}.items", "must be specified")
    if isinstance(node.get("items"), list):
        yield _fault(f"{path}.items", "must be a schema and not a list of them")


def _extensions(node: Node, path: str) -> Iterator[Fault]:
    preserve = node.get("x-kubernetes-preserve-unknown-fields")
    embedded = node.get("x-kubernetes-embedded-resource")
    if preserve is False:
        yield _fault(f"{path}.x-kubernetes-preserve-unknown-fields", "must be true or undefined")
    if node.get("x-kubernetes-int-or-string"):
        if preserve:
            yield _fault(
                f"{path}.x-kubernetes-preserve-unknown-fields",
                "must be false if x-kubernetes-int-or-string is true",
            )
        if embedded:
            yield _fault(
                f"{path}.x-kubernetes-embedded-resource",
                "must be false if x-kubernetes-int-or-string is true",
            )
    if embedded:
        if node.get("type") != "object":
            yield _fault(f"{path}.type", "must be object if x-kubernetes-embedded-resource is true")
        if node.get("additionalProperties") is not None:
            yield _fault(f"{path}.additionalProperties", "must not be used in an embedded resource")
        if not preserve and not node.get("properties"):
            yield _fault(f"{path}.properties", "must not be empty in an embedded resource")


def _resource(node: Node, path: str) -> Iterator[Fault]:
    """The parts of a resource that every server knows."""
    properties = node.get("properties", {})
    for name, kind in (("apiVersion", "string"), ("kind", "string"), ("metadata", "object")):
        if properties.get(name, {}).get("type", kind) != kind:
            yield _fault(f"{child(path, name)}.type", f"must be {kind}")


def _pattern(pattern: str, path: str) -> Iterator[Fault]:
    """Servers read patterns with Go's regexp package, which is RE2."""
    try:
        re.compile(pattern)
    except re.error as error:
        yield _fault(path, f"is no regular expression: {error}")
        return
    if re.search(r"\(\?(?:[=!>]|<[=!]|P=)|(?<!\\)(?:\\\\)*\\[1-9Z]", pattern):
        yield _fault(path, "uses what RE2 does not know: look-around or back-references")


def _junctions(node: Node, shape: Node, path: str, allowed: list[list[Node]]) -> Iterator[Fault]:
    """Junctors speak of values only, and only of what the node's own shape has."""
    if node.get("anyOf") in allowed:
        node = {key: value for key, value in node.items() if key != "anyOf"}
    elif allowed and node.get("allOf") and node["allOf"][0].get("anyOf") in allowed:
        node = {**node, "allOf": node["allOf"][1:]}
    for below_path, below in junctions(node, path):
        yield from _value_validation(below, shape, below_path)


def _value_validation(node: Node, shape: Node, path: str) -> Iterator[Fault]:
    for key in node:
        if key not in _VALUES and key not in {"items", "properties"}:
            yield _fault(f"{path}.{key}", "must be empty to be structural")
    if "pattern" in node:
        yield from _pattern(node["pattern"], f"{path}.pattern")
    for below_path, below, name in children(node, path):
        if name == "metadata":
            yield _fault(below_path, "must not be specified in a nested context")
        own = shape.get("items") if name is None else shape.get("properties", {}).get(name)
        if own is None:
            yield _fault(
                below_path, "must also be specified outside of allOf, anyOf, oneOf and not"
            )
        else:
            yield from _value_validation(below, own, below_path)
    yield from _junctions(node, shape, path, [])
