"""Exit codes of the command line."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["ExitCode"]


class ExitCode(IntEnum):
    """How a command ended."""

    OK = 0
    """Everything was done."""
    FAILED = 1
    """The job failed, or was cancelled."""
    USAGE = 2
    """The command line or the input is wrong, or the cluster rejects the input."""
    NOT_FOUND = 3
    """There is no such object."""
    TIMEOUT = 4
    """A wait took too long."""
    UNREACHABLE = 5
    """The cluster cannot be reached or used: no answer, refused credentials, no permission, no
    mmrlhf installed."""
    INTERRUPTED = 130
    """Ctrl-C."""
    TERMINATED = 143
    """SIGTERM."""
