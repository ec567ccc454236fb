"""What submitting a job would change, as a unified diff; pure."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import yaml

from mmrlhfctl.text.table import Style, paint

__all__ = ["difference"]

_SERVER_FIELDS = {
    "creationTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
}


def difference(
    before: Mapping[str, Any] | None, after: Mapping[str, Any], *, name: str, colours: bool = False
) -> str:
    """Return the difference between two states of an object; empty when there is none.

    Status and what the server keeps for itself are left out.

    Args:
        before: The object as it is; None when there is none.
        after: The object as it would be.
        name: Its name.
        colours: Whether to use colours.
    """
    lines = difflib.unified_diff(
        _text(before), _text(after), f"{name} (in the cluster)", f"{name} (submitted)", lineterm=""
    )
    return "\n".join(paint(line, _style(line), colours=colours) for line in lines)


def _text(body: Mapping[str, Any] | None) -> list[str]:
    if body is None:
        return []
    metadata = {k: v for k, v in body["metadata"].items() if k not in _SERVER_FIELDS}
    cut = {key: value for key, value in body.items() if key != "status"} | {"metadata": metadata}
    text: str = yaml.safe_dump(cut, sort_keys=True, allow_unicode=True, width=100)
    return text.splitlines()


def _style(line: str) -> Style:
    if line.startswith("+"):
        return Style.GOOD
    if line.startswith("-"):
        return Style.BAD
    return Style.BUSY if line.startswith("@@") else Style.NONE
