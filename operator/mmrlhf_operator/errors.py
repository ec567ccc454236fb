"""Errors of the operator, one tree.

::

    OperatorError
    +-- ConfigError        the operator's configuration cannot be read or is not valid
    +-- ServerError        the API server refused a request; carries the HTTP status
    +-- UnreachableError   the API server did not answer
    +-- PostponeError      the work cannot be done yet and is tried again later
    +-- QueuesChangedError  a queue provider came or went; the operator starts anew
    +-- LeadershipLostError   another replica leads from here on

What is wrong with a job is no error but a condition in its status.
"""

from __future__ import annotations

__all__ = [
    "ConfigError",
    "LeadershipLostError",
    "OperatorError",
    "PostponeError",
    "QueuesChangedError",
    "ServerError",
    "UnreachableError",
]


class OperatorError(Exception):
    """Base of all errors of the operator."""


class ConfigError(OperatorError):
    """The configuration cannot be read or is not valid; the message names file and field."""


class QueuesChangedError(OperatorError):
    """A queue or gang provider was installed or removed; what is watched is chosen at the start."""


class ServerError(OperatorError):
    """The API server refused a request.

    Args:
        status: HTTP status, such as 409.
        reason: One word of the server's answer, such as AlreadyExists.
        message: The server's own words.
        request: What was asked, such as ``POST /api/v1/...``.
        retry_after: Seconds that the server asks to wait, if it does.
    """

    def __init__(
        self,
        *,
        status: int,
        reason: str,
        message: str,
        request: str,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{request}: {status} {reason}: {message}")
        self.request = request
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after

    @property
    def is_missing(self) -> bool:
        """The object does not exist."""
        return self.status == 404

    @property
    def is_conflict(self) -> bool:
        """The object exists already, or has changed since it was read."""
        return self.status == 409

    @property
    def is_expired(self) -> bool:
        """A page of a list was asked for whose version is gone."""
        return self.status == 410

    @property
    def is_final(self) -> bool:
        """The same request will be refused again: it is invalid or not allowed."""
        return self.status in {400, 403, 405, 413, 415, 422}


class UnreachableError(OperatorError):
    """The API server did not answer, or its answer broke off."""


class PostponeError(OperatorError):
    """The work cannot be done yet.

    Args:
        message: What it waits for.
        seconds: When to try again.
    """

    def __init__(self, message: str, *, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class LeadershipLostError(OperatorError):
    """Another replica holds the Lease."""
