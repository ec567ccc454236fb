"""From the bytes of one JSON object to its fields: the one place where rows of JSON are read.

Records, importers, samplings, questions to servers and answers of annotators all come through here,
so that a row that is read in one place is read in all of them, and refused for the same reasons.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Sequence
from typing import Any, Final, Literal, TypeAlias

__all__ = ["MAX_DEPTH", "RowFault", "UnreadableRowError", "parse_object"]

MAX_DEPTH: Final = 100
"""Deepest nesting of a row: no known format has more than ten, and Python's own limit differs
between its versions."""

RowFault: TypeAlias = Literal["not-utf8", "invalid-json", "invalid-row"]
"""Why bytes are no row: they are no text, the text is no JSON, or the JSON is no object."""

_SHOWN: Final = 60


class UnreadableRowError(Exception):
    """Bytes that are no row.

    Args:
        reason: One word of a closed set, for counts and budgets.
        message: What is wrong, for people.
    """

    def __init__(self, reason: RowFault, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def parse_object(raw: bytes) -> dict[str, Any]:
    r"""Read one JSON object.

    Raises:
        UnreadableRowError: It is not UTF-8 (a lone surrogate such as ``\ud83d``, half an emoji, is
            not either), no JSON, nested too deeply, has a key twice, or is no object.
    """
    try:
        text = raw.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        raise UnreadableRowError(
            "not-utf8", f"the line is not UTF-8 (byte {error.start + 1}); save the file in UTF-8"
        ) from None
    if text.count("[") + text.count("{") > MAX_DEPTH and _depth(text) > MAX_DEPTH:
        raise UnreadableRowError(
            "invalid-json", f"not valid JSON: nested too deeply, more than {MAX_DEPTH} levels"
        )
    try:
        value = json.loads(text, object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as error:  # ValueError: an integer of 4,300 digits, too
        raise UnreadableRowError("invalid-json", f"not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise UnreadableRowError("invalid-row", "the line is no JSON object")
    if "\\ud" in text or "\\uD" in text:
        _refuse_lone_surrogates(value)
    return value


def _without_repeats(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise ValueError(f"the key {name[:_SHOWN]!r} is there twice")
            seen.add(name)
    return found


def _refuse_lone_surrogates(value: object) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise UnreadableRowError(
            "not-utf8",
            "the row holds what is not UTF-8: a lone surrogate such as \\ud83d, half of a"
            " character; the text was cut in its middle",
        ) from None


def _depth(text: str) -> int:
    """Deepest nesting; text within quotes does not count."""
    deepest = depth = 0
    quoted = escaped = False
    for character in text:
        if escaped:
            escaped = False
        elif quoted:
            escaped = character == "\\"
            quoted = character != '"'
        elif character == '"':
            quoted = True
        elif character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
    return deepest
