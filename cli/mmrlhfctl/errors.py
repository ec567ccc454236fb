"""Errors of the command line, and what those of the SDK mean to a shell."""

from __future__ import annotations

from typing import Final

from mmrlhf import errors as sdk
from mmrlhfctl.exits import ExitCode
from mmrlhfctl.program import program_name

__all__ = ["CliError", "exit_code", "told"]


class CliError(sdk.MmrlhfError):
    """A command cannot go on: a message for the user and an exit code, never a traceback.

    Args:
        lines: What is wrong and what to do, one line or several.
        code: Exit code of the process.
    """

    def __init__(self, *lines: str, code: int = ExitCode.FAILED) -> None:
        super().__init__(*lines)
        self.code = code


_WORDS: Final = {
    "mmrlhfctl doctor": f"{program_name()} doctor",
    "another state_dir": "another --state-dir",
    "the same run": "the same command",
    "the job says namespace": "the file says namespace",
    "and the client namespace": "and --namespace",
    "set spec.resources.gpusPerNode to 0": "add --set spec.resources.gpusPerNode=0",
}
"""What the SDK speaks of, as users of this program call it."""
_CODES: Final[dict[type[sdk.MmrlhfError], ExitCode]] = {
    sdk.UsageError: ExitCode.USAGE,
    sdk.NoClusterError: ExitCode.UNREACHABLE,
    sdk.WaitTimeoutError: ExitCode.TIMEOUT,
    sdk.NotFoundError: ExitCode.NOT_FOUND,
    sdk.ConflictError: ExitCode.USAGE,
    sdk.RejectedError: ExitCode.USAGE,
    sdk.ClusterError: ExitCode.UNREACHABLE,
}
"""The first class that fits counts; all others are `ExitCode.FAILED`."""


def exit_code(error: sdk.MmrlhfError) -> int:
    """Return the exit code of a command that ends with an error."""
    if isinstance(error, CliError):
        return error.code
    if isinstance(error, sdk.LocalRunError):
        return error.exit_code
    return next((code for kind, code in _CODES.items() if isinstance(error, kind)), ExitCode.FAILED)


def told(error: sdk.MmrlhfError) -> list[str]:
    """Return the lines that a command tells of an error: arguments and itself by their names."""
    lines = list(error.lines)
    for name, own in _WORDS.items():
        lines = [line.replace(name, own) for line in lines]
    if isinstance(error, sdk.UsageError) and error.argument is not None:
        lines[0] = f"--{error.argument}{lines[0].removeprefix(error.argument)}"
    if isinstance(error, sdk.LocalRunError) and error.log is not None:
        lines[0] += f"\nfull log: {error.log}"
    return lines
