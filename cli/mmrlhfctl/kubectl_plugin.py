"""Completion for kubectl, which asks a plugin for it by ``kubectl_complete-mmrlhf`` (1.26)."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer
from typer._completion_classes import BashComplete

from mmrlhfctl.app import app
from mmrlhfctl.program import COMPLETE_VARIABLE, PROGRAM
from mmrlhfctl.terminal import out

__all__ = ["main"]

_FILES, _NO_FILES = 0, 4
"""What the shell is to do besides, in cobra's numbers."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Answer kubectl: a line for each word that may follow, and what to do besides (cobra)."""
    *before, incomplete = (sys.argv[1:] if arguments is None else arguments) or [""]
    complete = BashComplete(typer.main.get_command(app), {}, PROGRAM, COMPLETE_VARIABLE)
    items = complete.get_completions(list(before), incomplete)
    words = [item for item in items if item.type == "plain"]
    lines = [f"{item.value}\t{item.help or ''}".rstrip() for item in words]
    out("\n".join([*lines, f":{_NO_FILES if words else _FILES}"]))
    return 0
