"""The name under which the program was called."""

from __future__ import annotations

import sys
from pathlib import PurePath

__all__ = ["COMPLETE_VARIABLE", "PROGRAM", "program_name"]

PROGRAM = "mmrlhfctl"
COMPLETE_VARIABLE = "_MMRLHFCTL_COMPLETE"
"""Set by a shell that wants completions instead of a run."""
_PLUGIN = "kubectl-mmrlhf"


def program_name(path: str | None = None) -> str:
    """Return how the user called the program: ``mmrlhfctl``, or ``kubectl mmrlhf`` as a plugin.

    Args:
        path: Path of the program; the running one by default.
    """
    called = PurePath(sys.argv[0] if path is None else path).name
    return "kubectl mmrlhf" if called.startswith(_PLUGIN) else PROGRAM
