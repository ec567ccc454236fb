"""The name under which the program was called."""

from __future__ import annotations

import sys
from pathlib import PurePath

__all__ = ["PROGRAM", "program_name"]

PROGRAM = "mmrlhfctl"
_PLUGIN = "kubectl-mmrlhf"


def program_name(path: str | None = None) -> str:
    """Return how the user called the program: ``mmrlhfctl``, or ``kubectl mmrlhf`` as a plugin.

    Args:
        path: Path of the program; the running one by default.
    """
    called = PurePath(sys.argv[0] if path is None else path).name
    return "kubectl mmrlhf" if called.startswith(_PLUGIN) else PROGRAM
