"""``mmrlhfctl explain``: the schema of a kind in words, as kubectl explain shows it."""

from __future__ import annotations

import difflib
import re
import textwrap
from collections.abc import Iterator
from typing import Any

from mmrlhf_api.constants import API_VERSION, GROUP, VERSION
from mmrlhf_api.errors import UnknownKindError
from mmrlhf_api.kinds.registry import find_among
from mmrlhf_api.notation import default_text, element, limits, type_text
from mmrlhf_api.pipelines.resources import all_resources
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
    # kubectl takes mmdpojobs.mmrlhf.io and mmdpojobs.v1alpha1.mmrlhf.io, and fields behind them.
    group = re.match(rf"[^.]+(?:\.{VERSION})?\.{re.escape(GROUP)}(?=\.|$)", path)
    name = path.split(".", maxsplit=1)[0] if group is None else group[0]
    fields = [field for field in path.removeprefix(name).split(".") if field]
    try:
        kind = find_among(name, all_resources())
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
        lines += [f"FIELD:    {'.'.join(fields)} <{type_text(node)}>{_notes(node)}", ""]
    lines += ["DESCRIPTION:", *_wrap(node.get("description", ""), "    "), ""]
    children = _children(node)
    if children:
        lines.append("FIELDS:")
        lines += _tree(node, "  ") if recursive else _list(node)
    return "\n".join(lines).rstrip() + "\n"


def _children(node: dict[str, Any]) -> dict[str, Any]:
    children: dict[str, Any] = element(node).get("properties", {})
    return children


def _notes(node: dict[str, Any]) -> str:
    notes = limits(node)
    if (default := default_text(node)) is not None:
        notes.append(f"default {default}")
    return f"  ({', '.join(notes)})" if notes else ""


def _list(node: dict[str, Any]) -> Iterator[str]:
    required = element(node).get("required", [])
    for name, child in _children(node).items():
        mark = " -required-" if name in required else ""
        yield f"  {name} <{type_text(child)}>{mark}{_notes(child)}"
        yield from _wrap(child.get("description", ""), "      ")
        yield ""


def _tree(node: dict[str, Any], indent: str) -> Iterator[str]:
    required = element(node).get("required", [])
    for name, child in _children(node).items():
        mark = " -required-" if name in required else ""
        yield f"{indent}{name} <{type_text(child)}>{mark}{_notes(child)}"
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
