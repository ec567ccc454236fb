"""A request and its answer, whatever carries them, and why there is none."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException, IncompleteRead, RemoteDisconnected
from typing import Final, Protocol

from mmrlhf.client.refusals import one_line

__all__ = ["UNKNOWN_NAME", "Answer", "NoAnswerError", "Request", "Timeout", "Way", "explain"]

UNKNOWN_NAME: Final = "its name does not resolve"

Timeout = tuple[float, float | None]
"""Seconds to connect, and to wait for a piece of the answer; None for ever."""


class NoAnswerError(Exception):
    """There is no answer, or no whole one; says why, in words for users."""


@dataclass(frozen=True)
class Request:
    """A request.

    Attributes:
        method: Its method.
        path: Its path, with the query.
        headers: Its headers; a name may come several times.
        body: Its body; None without one.
    """

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes | None = None


class Answer(Protocol):
    """An answer whose head is there. Once it is read whole, its connection serves the next one."""

    @property
    def status(self) -> int:
        """Its HTTP status."""

    def header(self, name: str) -> str | None:
        """Return the value of a header; None without it."""

    def read(self) -> bytes:
        """Return its body.

        Raises:
            NoAnswerError: It breaks off.
        """

    def pieces(self) -> Iterator[bytes]:
        """Yield its body as it comes.

        Raises:
            NoAnswerError: It breaks off.
        """

    def close(self) -> None:
        """Give up what is not read yet."""


class Way(Protocol):
    """Leads to one server, over connections that are kept. Threads may share it."""

    def send(self, request: Request, timeout: Timeout) -> Answer:
        """Return the answer to a request as soon as its head is there.

        Raises:
            NoAnswerError: There is none.
        """


def explain(error: BaseException) -> str:
    """Say in words why nothing was answered.

    Args:
        error: What was raised; what it was raised from counts where it tells nothing itself.
    """
    cause: BaseException | None = error
    while cause is not None:
        if (told := _told(cause)) is not None:
            return told
        cause = cause.__cause__ or cause.__context__
    return one_line(error)


def _told(error: BaseException) -> str | None:  # noqa: PLR0911 - a table
    match error:
        case socket.gaierror():
            return UNKNOWN_NAME
        case TimeoutError():
            return "it does not answer in time"
        case ssl.SSLError():
            return one_line(error)
        case RemoteDisconnected():
            return "it has closed the connection without an answer"
        case IncompleteRead():
            return "its answer breaks off"
        case OSError(strerror=str(words)):
            return words.lower()
        case OSError() | HTTPException():
            return one_line(error)
    return None
