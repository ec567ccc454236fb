"""``mmrlhfctl completion``: scripts that make a shell complete commands and options.

kubectl, which completes plugins itself, asks ``kubectl_complete-mmrlhf`` instead of a script.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

# typer offers these only as options of every program (--show-completion), which guess the shell.
from typer._completion_classes import BashComplete, completion_init
from typer._completion_shared import get_completion_script

from mmrlhfctl.app import COMPLETE_VARIABLE, app
from mmrlhfctl.program import PROGRAM
from mmrlhfctl.terminal import out

__all__ = ["completion_script", "main", "teach_shells"]

_FILES, _NO_FILES = 0, 4
"""What the shell is to do besides, in cobra's numbers."""


def completion_script(shell: str) -> str:
    """Return the completion script of ``shell`` (bash, zsh or fish)."""
    return get_completion_script(prog_name=PROGRAM, complete_var=COMPLETE_VARIABLE, shell=shell)


def teach_shells() -> None:
    """Make typer answer a shell that asks for completions."""
    completion_init()


def main(arguments: Sequence[str] | None = None) -> int:
    """Answer kubectl: a line for each word that may follow, and what to do besides (cobra)."""
    *before, incomplete = (sys.argv[1:] if arguments is None else arguments) or [""]
    complete = BashComplete(typer.main.get_command(app), {}, PROGRAM, COMPLETE_VARIABLE)
    items = complete.get_completions(list(before), incomplete)
    words = [item for item in items if item.type == "plain"]
    lines = [f"{item.value}\t{item.help or ''}".rstrip() for item in words]
    out("\n".join([*lines, f":{_NO_FILES if words else _FILES}"]))
    return 0
