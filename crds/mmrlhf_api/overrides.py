"""Assignments such as ``spec.training.epochs=2`` that change a job file before it is validated."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Self

from mmrlhf_api.yamltree import FieldPath, ParseError, format_path, parse_value

__all__ = ["Override", "apply_override", "parse_path"]

_PART = re.compile(r"([^.\[\]=]+)|\[([0-9]{1,6})\]")


@dataclass(frozen=True)
class Override:
    """One assignment.

    Attributes:
        text: The assignment as it was given.
        path: Field that it sets.
        value: Plain data that it sets; None removes the field.
    """

    text: str
    path: FieldPath
    value: Any

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse ``path=value``; the value is YAML, and ``null`` removes the field.

        Raises:
            ValueError: The text is no assignment.
        """
        left, mark, right = text.partition("=")
        if not mark or not left.strip():
            raise ValueError("must be FIELD=VALUE, such as spec.training.epochs=2")
        path = parse_path(left.strip())
        try:
            return cls(text, path, parse_value(right))
        except ParseError as error:
            raise ValueError(f"the value {error.problems[0].message}") from error


def parse_path(text: str) -> FieldPath:
    """Return the path that ``spec.sources[0].weight`` means.

    Raises:
        ValueError: It is no path below metadata or spec.
    """
    parts: list[str | int] = []
    position = 0
    while position < len(text):
        match = _PART.match(text, position)
        if match is None:
            raise ValueError(f"{text!r} is no field path, such as spec.sources[0].weight")
        parts.append(match[1] if match[1] is not None else int(match[2]))
        position = match.end()
        if position < len(text) and text[position] == ".":
            position += 1
            if position == len(text):
                raise ValueError(f"{text!r} ends with a dot")
    if parts[0] not in {"metadata", "spec"}:
        raise ValueError("only fields below metadata and spec can be set")
    return tuple(parts)


def apply_override(data: dict[str, Any], override: Override) -> None:
    """Set one field of ``data`` in place; missing mappings on the way are made.

    Raises:
        ValueError: The path does not fit the data.
    """
    holder: Any = data
    for depth, part in enumerate(override.path):
        here = format_path(override.path[:depth])
        last = depth == len(override.path) - 1
        if isinstance(part, int):
            if not isinstance(holder, list):
                raise ValueError(f"{here} is not a list")  # noqa: TRY004 - the text is at fault
            if part >= len(holder):
                raise ValueError(f"{here} has {len(holder)} entries; [{part}] is not one of them")
        elif not isinstance(holder, dict):
            raise ValueError(f"{here} is not a mapping")  # noqa: TRY004 - the text is at fault
        if not last:
            if isinstance(holder, dict) and holder.get(str(part)) is None:
                holder[str(part)] = {}
            holder = holder[part]
        elif override.value is None and isinstance(holder, dict):
            holder.pop(str(part), None)
        else:
            holder[part] = override.value
