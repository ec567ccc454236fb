"""``mmrlhfctl completion``: scripts that make a shell complete commands and options.

kubectl completes plugins itself: see `kubectl_plugin`.
"""

from __future__ import annotations

# typer offers these only as options of every program (--show-completion), which guess the shell.
from typer._completion_classes import completion_init
from typer._completion_shared import get_completion_script

from mmrlhfctl.program import COMPLETE_VARIABLE, PROGRAM

__all__ = ["completion_script", "teach_shells"]


def completion_script(shell: str) -> str:
    """Return the completion script of ``shell`` (bash, zsh or fish)."""
    return get_completion_script(prog_name=PROGRAM, complete_var=COMPLETE_VARIABLE, shell=shell)


def teach_shells() -> None:
    """Make typer answer a shell that asks for completions."""
    completion_init()
