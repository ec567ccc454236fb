"""JSON that others wrote, read so that nothing in it can end the reader."""

from __future__ import annotations

import json
from typing import Any, Final, NoReturn

__all__ = ["read_object"]

_MAX_DEPTH: Final = 32
_MAX_INTEGER: Final = 2**63


def read_object(
    text: str | bytes, *, max_size: int, odd_numbers: bool = False
) -> dict[str, Any] | None:
    """Return the JSON object of a text; None for anything odd.

    Odd are texts that are larger than asked for, no UTF-8, no JSON or no object, values nested more
    than 32 deep, integers beyond 64 bits, and the NaN and Infinity that JSON does not have.

    Args:
        text: What someone else wrote.
        max_size: Characters or bytes that it may have.
        odd_numbers: Whether numbers that are odd are None, and the rest is taken all the same.
    """
    if len(text) > max_size:
        return None
    try:
        if odd_numbers:
            content = json.loads(text, parse_int=_integer_or_none, parse_constant=_none)
        else:
            content = json.loads(text, parse_int=_integer, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) and _is_shallow(content) else None


def _integer(text: str) -> int:
    number = int(text)  # a ValueError from 4,301 digits on
    if not -_MAX_INTEGER <= number < _MAX_INTEGER:
        raise ValueError("an integer beyond 64 bits")
    return number


def _integer_or_none(text: str) -> int | None:
    try:
        return _integer(text)
    except ValueError:
        return None


def _none(_: str) -> None:
    return None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def _is_shallow(content: dict[str, Any]) -> bool:
    level: list[Any] = [content]
    for _ in range(_MAX_DEPTH):
        level = [
            below
            for value in level
            for below in (value.values() if isinstance(value, dict) else value)
            if isinstance(below, dict | list)
        ]
        if not level:
            return True
    return False
