"""What a rule sees of a schema: the CEL type of each node, its largest and smallest size.

Source: apiserver ``pkg/cel/common/schemas.go`` (SchemaDeclType), ``pkg/cel/types.go``,
``pkg/cel/limits.go`` and ``pkg/cel/escaping.go``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tests.crd_checker.celtypes import DYN, STRING, CelType, list_of, map_of
from tests.crd_checker.expressions import RESERVED
from tests.crd_checker.schema import Node

__all__ = ["MAX_REQUEST", "Declaration", "Property", "declare", "escape", "objects"]

MAX_REQUEST = 3 * 1024 * 1024
"""Bytes of the largest request; what bounds a value whose schema does not."""

# Longest and shortest JSON texts of the formats, in bytes.
_FORMATS = {
    "duration": ("duration", 32, 3),
    "date": ("timestamp", 12, 12),
    "date-time": ("timestamp", 32, 21),
}
_SCALARS = {"boolean": ("bool", 4), "integer": ("int", 1), "number": ("double", 1)}
_ESCAPES = {"__": "__underscores__", ".": "__dot__", "-": "__dash__", "/": "__slash__"}


@dataclass(frozen=True)
class Declaration:
    """A node as rules see it.

    Attributes:
        type: Its CEL type.
        largest: Most entries, characters or bytes; 0 where CEL does not count a size.
        smallest: Bytes of its shortest JSON text.
        fields: Fields of an object by their name in CEL.
        entries: What a list or map holds.
    """

    type: CelType
    largest: int = 0
    smallest: int = 1
    fields: Mapping[str, Property] = field(default_factory=dict)
    entries: Declaration | None = None


@dataclass(frozen=True)
class Property:
    """A field of an object.

    Attributes:
        declaration: What it holds.
        present: Whether an object always has it: it is required, or a default fills it in, which
            servers do for what they read from etcd, too.
    """

    declaration: Declaration
    present: bool


def escape(name: str) -> str | None:
    """Return a property's name as CEL spells it; None if it cannot."""
    if name in RESERVED:
        return f"__{name}__"
    if re.fullmatch(r"[A-Za-z_./-][A-Za-z0-9_./-]*", name) is None:
        return None
    return re.sub(r"__|[-./]", lambda match: _ESCAPES[match[0]], name)


def declare(node: Node, place: str = "object", *, resource: bool = False) -> Declaration | None:
    """Return what rules see of ``node``; None if they cannot see it.

    Args:
        node: A structural schema.
        place: Name for the type of an object.
        resource: Whether this is the root of a resource; it always has kind and metadata.
    """
    if node.get("x-kubernetes-int-or-string"):
        largest = 4 * max(node["maxLength"], 0) if "maxLength" in node else MAX_REQUEST - 2
        return Declaration(DYN, largest, 1)
    kind = node.get("type")
    if kind == "array":
        return _list(node, place)
    if kind == "object":
        if isinstance(node.get("additionalProperties"), dict):
            return _map(node, place)
        return _object(node, place, resource=resource or node.get(_EMBEDDED, False))
    if kind == "string":
        return _string(node)
    if kind in _SCALARS:
        name, smallest = _SCALARS[kind]
        return Declaration(CelType(name), 0, smallest)
    return None


_EMBEDDED = "x-kubernetes-embedded-resource"


def _list(node: Node, place: str) -> Declaration | None:
    entries = declare(node.get("items", {}), f"{place}.@idx")
    if entries is None:
        return None
    largest = node.get("maxItems", (MAX_REQUEST - 2) // (entries.smallest + 1))
    return Declaration(list_of(entries.type), max(largest, 0), 2, entries=entries)


def _map(node: Node, place: str) -> Declaration | None:
    entries = declare(node["additionalProperties"], f"{place}.@elem")
    if entries is None:
        return None
    # "" : , and the key's quotes
    largest = node.get("maxProperties", (MAX_REQUEST - 2) // (entries.smallest + 6))
    return Declaration(map_of(STRING, entries.type), max(largest, 0), 2, entries=entries)


def _object(node: Node, place: str, *, resource: bool) -> Declaration:
    properties, required = dict(node.get("properties", {})), set(node.get("required", ()))
    fields, smallest = {}, 2
    if resource:
        text: Node = {"type": "string"}
        properties |= {
            "kind": text,
            "apiVersion": text,
            "metadata": {
                "type": "object",
                "properties": {"name": text, "generateName": text},
                "required": ["name"],
            },
        }
    for name, below in properties.items():
        spelled = escape(name)
        declaration = declare(below, f"{place}.{name}")
        if declaration is None:
            continue
        known = resource and name in {"kind", "apiVersion", "metadata"}
        if name in required and "default" not in below and not known:
            smallest += len(name) + declaration.smallest + 4
        if spelled is not None:
            present = known or name in required or "default" in below
            fields[spelled] = Property(declaration, present)
    return Declaration(CelType("object", place=place), 0, smallest, fields=fields)


def _string(node: Node) -> Declaration:
    form = node.get("format")
    if form in _FORMATS:
        name, largest, smallest = _FORMATS[form]
        return Declaration(CelType(name), largest, smallest)
    if form == "byte":
        return Declaration(CelType("bytes"), max(node.get("maxLength", MAX_REQUEST - 2), 0), 2)
    if "maxLength" in node:
        # counted in bytes, of which a character has up to 4
        return Declaration(STRING, 4 * max(node["maxLength"], 0), 2)
    if node.get("enum"):
        longest = max((len(v.encode()) for v in node["enum"] if isinstance(v, str)), default=0)
        return Declaration(STRING, longest, 2)
    return Declaration(STRING, MAX_REQUEST - 2, 2)


def objects(declaration: Declaration) -> Iterator[tuple[str, Declaration]]:
    """Yield all objects in ``declaration`` by their place."""
    if declaration.type.name == "object":
        yield declaration.type.place, declaration
    for held in declaration.fields.values():
        yield from objects(held.declaration)
    if declaration.entries is not None:
        yield from objects(declaration.entries)
