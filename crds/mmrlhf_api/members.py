"""What the members of an enum mean: the strings under them, as people read them."""

from __future__ import annotations

import ast
import inspect
import textwrap
from enum import StrEnum

__all__ = ["meanings"]


def meanings(enum: type[StrEnum]) -> dict[str, str]:
    """Return the string under each member of an enum, on one line, by the member's value.

    Python drops these strings, so the source is read.
    """
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(enum))).body
    assert isinstance(body, ast.ClassDef)
    found: dict[str, str] = {}
    for member, text in zip(body.body, body.body[1:], strict=False):
        match member, text:
            case (
                ast.Assign(value=ast.Constant(value=str(value))),
                ast.Expr(value=ast.Constant(value=str(words))),
            ):
                found[value] = " ".join(words.split())
    return found
