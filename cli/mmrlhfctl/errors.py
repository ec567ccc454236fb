"""Errors of the command line.

::

    CliError                  a message for the user and an exit code; never a traceback
    +-- WaitTimeoutError      something did not come true in time
    +-- ClusterError          the cluster did not do what it was asked for
        +-- UnreachableError  no answer, or one that says to try again
        +-- CredentialsError  the credentials are refused, or there are none
        +-- ForbiddenError    the user may not do that
        +-- KindMissingError  the cluster does not know the kind: its CRD is not installed
        +-- NotFoundError     there is no such object
        +-- ConflictError     someone else set the same fields, or changed the object meanwhile
        +-- RejectedError     the API server finds the input wrong
        +-- ExpiredError      a watch is too far behind and must start over
"""

from __future__ import annotations

from mmrlhfctl.exits import ExitCode

__all__ = [
    "CliError",
    "ClusterError",
    "ConflictError",
    "CredentialsError",
    "ExpiredError",
    "ForbiddenError",
    "KindMissingError",
    "NotFoundError",
    "RejectedError",
    "UnreachableError",
    "WaitTimeoutError",
]


class CliError(Exception):
    """A command cannot go on.

    Args:
        lines: What is wrong and what to do, one line or several.
        code: Exit code of the process; without it, that of the class.
    """

    default_code: ExitCode = ExitCode.FAILED

    def __init__(self, *lines: str, code: int | None = None) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines
        self.code = self.default_code if code is None else code


class WaitTimeoutError(CliError):
    """Something did not come true in time."""

    default_code = ExitCode.TIMEOUT


class ClusterError(CliError):
    """The cluster did not do what it was asked for."""

    default_code = ExitCode.UNREACHABLE


class UnreachableError(ClusterError):
    """The API server gives no answer, or one that says to try again."""


class CredentialsError(ClusterError):
    """The API server refuses the credentials, or there are none."""


class ForbiddenError(ClusterError):
    """The user may not do that."""


class KindMissingError(ClusterError):
    """The API server does not know the kind."""


class NotFoundError(ClusterError):
    """There is no such object."""

    default_code = ExitCode.NOT_FOUND


class ConflictError(ClusterError):
    """Someone else set the same fields, or changed the object meanwhile."""

    default_code = ExitCode.USAGE


class RejectedError(ClusterError):
    """The API server finds the input wrong."""

    default_code = ExitCode.USAGE


class ExpiredError(ClusterError):
    """A watch is too far behind and must start over."""
