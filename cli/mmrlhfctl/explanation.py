"""``mmrlhfctl explain``: the schema of a kind in words, as kubectl explain shows it."""

from __future__ import annotations

import difflib
import json
import textwrap
from collections.abc import Iterator
from typing import Any

from mmrlhf_api.constants import API_VERSION
from mmrlhf_api.errors import UnknownKindError
from mmrlhf_api.kinds import find_kind
from mmrlhf_api.schema import kind_schema
from mmrlhfctl.errors import CliError
from mmrlhfctl.exits import ExitCode

__all__ = ["explain_path"]

_WIDTH = 88


def explain_path(path: str, *, recursive: bool = False) -> str:
    """Return the description of a kind or field.

    Args:
        path: Kind, or kind and field names joined by dots.
        recursive: List the names of all fields below instead of describing those directly below.

    Raises:
        CliError: There is no such kind or field; says what is near.
    """
    name, *fields = path.split(".")
    try:
        kind = find_kind(name)
    except UnknownKindError as error:
        raise CliError(str(error), code=ExitCode.USAGE) from error
    node = kind_schema(kind, cel=False)
    walked = kind.name
    for field in fields:
        children = _children(node)
        field_name = field.removesuffix("[]")
        if field_name not in children:
            raise CliError(_no_field(walked, field_name, list(children)), code=ExitCode.USAGE)
        node = children[field_name]
        walked += f".{field_name}"
    lines = [f"KIND:     {kind.name}", f"VERSION:  {API_VERSION}", ""]
    if fields:
        lines += [f"FIELD:    {'.'.join(fields)} <{_type(node)}>{_notes(node)}", ""]
    lines += ["DESCRIPTION:", *_wrap(node.get("description", ""), "    "), ""]
    children = _children(node)
    if children:
        lines.append("FIELDS:")
        lines += _tree(node, "  ") if recursive else _list(node)
    return "\n".join(lines).rstrip() + "\n"


def _children(node: dict[str, Any]) -> dict[str, Any]:
    children: dict[str, Any] = _object(node).get("properties", {})
    return children


def _object(node: dict[str, Any]) -> dict[str, Any]:
    """Return the object whose fields a list or a field of its own has."""
    if node.get("type") == "array":
        items: dict[str, Any] = node["items"]
        return items
    return node


def _type(node: dict[str, Any]) -> str:
    if node.get("x-kubernetes-int-or-string"):
        return "quantity"
    if node.get("type") == "array":
        return f"[]{_type(node['items'])}"
    if isinstance(node.get("additionalProperties"), dict):
        return f"map[string]{_type(node['additionalProperties'])}"
    return str(node.get("type", "object"))


def _notes(node: dict[str, Any]) -> str:
    notes: list[str] = []
    if "enum" in node:
        notes.append(" | ".join(node["enum"]))
    if "minimum" in node:
        notes.append(f"{'>' if node.get('exclusiveMinimum') else '>='} {node['minimum']:g}")
    # Limits that only keep numbers inside 32 or 53 bits say nothing to a reader.
    if "maximum" in node and node["maximum"] < 2**31 - 1:
        notes.append(f"{'<' if node.get('exclusiveMaximum') else '<='} {node['maximum']:g}")
    if "default" in node and node["default"] != {}:
        notes.append(f"default {_default(node['default'])}")
    return f"  ({', '.join(notes)})" if notes else ""


def _default(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else json.dumps(value).strip('"')


def _list(node: dict[str, Any]) -> Iterator[str]:
    required = _object(node).get("required", [])
    for name, child in _children(node).items():
        mark = " -required-" if name in required else ""
        yield f"  {name} <{_type(child)}>{mark}{_notes(child)}"
        yield from _wrap(child.get("description", ""), "      ")
        yield ""


def _tree(node: dict[str, Any], indent: str) -> Iterator[str]:
    required = _object(node).get("required", [])
    for name, child in _children(node).items():
        mark = " -required-" if name in required else ""
        yield f"{indent}{name} <{_type(child)}>{mark}{_notes(child)}"
        yield from _tree(child, indent + "  ")


def _wrap(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=indent, subsequent_indent=indent)


def _no_field(walked: str, name: str, known: list[str]) -> str:
    if not known:
        return f"{walked} has no fields, so no {name}"
    by_lower = {candidate.lower(): candidate for candidate in known}
    close = difflib.get_close_matches(name.lower(), list(by_lower), n=1)
    if close:
        return f"{walked} has no field {name}; did you mean {by_lower[close[0]]}?"
    return f"{walked} has no field {name}; it has {', '.join(known)}"
