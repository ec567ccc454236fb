"""Errors of the command line.

::

    CliError                  a message for the user and an exit code; never a traceback
"""

from __future__ import annotations

from mmrlhfctl.exits import ExitCode

__all__ = ["CliError"]


class CliError(Exception):
    """A command cannot go on.

    Args:
        lines: What is wrong and what to do, one line or several.
        code: Exit code of the process.
    """

    def __init__(self, *lines: str, code: int = ExitCode.FAILED) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines
        self.code = code
