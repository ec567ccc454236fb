"""Requests to a server that is reached without a proxy, by the standard library."""

from __future__ import annotations

import selectors
import socket
import ssl
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, IncompleteRead
from typing import Any, Final
from urllib.parse import urlsplit

from mmrlhf.client.exchange import UNKNOWN_NAME, NoAnswerError, Request, Timeout, explain
from mmrlhf.errors import UsageError

__all__ = ["DirectWay"]

_KEPT: Final = 10
"""Connections that are kept: as many as threads of ours."""
_PIECE: Final = 65536
_BROKEN: Final = (OSError, HTTPException)
"""What is raised where nothing is answered, or no HTTP."""


class DirectWay:
    """A server and the connections to it. Threads may share it.

    Args:
        server: Its address.
        context: How it proves who it is; None for one that need not.
        server_name: Name that its certificate must have; None for that of the address.
        options: Options of sockets.

    Raises:
        UsageError: The address is none.
    """

    def __init__(
        self,
        server: str,
        *,
        context: ssl.SSLContext | None,
        server_name: str | None,
        options: list[tuple[int, int, int]],
    ) -> None:
        try:
            parts = urlsplit(server)
            self._port = parts.port or (80 if context is None else 443)
        except ValueError as error:
            raise UsageError(f"server {server}: {error}") from error
        if not parts.hostname:
            raise UsageError(f"server {server}: names no host")
        self._host = parts.hostname
        self._below = parts.path
        self._context = context
        self._name = (server_name or self._host).rstrip(".")
        self._options = options
        self._idle: list[HTTPConnection] = []
        weakref.finalize(self, _close_all, self._idle)

    def send(self, request: Request, timeout: Timeout) -> DirectAnswer:
        """Return the answer to a request as soon as its head is there.

        Raises:
            NoAnswerError: There is none.
        """
        connection = self._kept()
        try:
            if connection is None:
                connection = self._connect(timeout[0])
            connection.sock.settimeout(timeout[1])
            connection.putrequest(request.method, self._below + request.path)
            for name, value in request.headers:
                connection.putheader(name, value)
            if request.body is not None:
                connection.putheader("Content-Length", str(len(request.body)))
            connection.endheaders(request.body)
            return DirectAnswer(connection.getresponse(), connection, self)
        except BaseException as error:
            if connection is not None:
                connection.close()
            if isinstance(error, _BROKEN):
                raise NoAnswerError(explain(error)) from error
            raise

    def keep(self, connection: HTTPConnection) -> None:
        """Take back a connection whose answer was read to its end."""
        if connection.sock is not None and len(self._idle) < _KEPT:
            self._idle.append(connection)
        else:
            connection.close()

    def _kept(self) -> HTTPConnection | None:
        """Return a connection that is free; those that the server has closed meanwhile go."""
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread was faster
                break
            if not _has_come(connection.sock):
                return connection
            connection.close()
        return None

    def _connect(self, seconds: float) -> HTTPConnection:
        try:
            sock = socket.create_connection((_ascii(self._host), self._port), seconds)
        except UnicodeError as error:  # a name that no server could have
            raise NoAnswerError(UNKNOWN_NAME) from error
        try:
            for option in self._options:
                sock.setsockopt(*option)
            if self._context is None:
                connection = HTTPConnection(self._host, self._port)
            else:
                sock = self._context.wrap_socket(sock, server_hostname=_ascii(self._name))
                connection = HTTPSConnection(self._host, self._port, context=self._context)
        except BaseException:
            sock.close()
            raise
        connection.sock = sock
        connection.auto_open = 0
        return connection


class DirectAnswer:
    """An answer whose head is there; see `Answer`.

    Args:
        response: What is there of it.
        connection: Where the rest comes from.
        way: Takes the connection back.
    """

    def __init__(self, response: HTTPResponse, connection: HTTPConnection, way: DirectWay) -> None:
        self._response = response
        self._connection: HTTPConnection | None = connection
        self._way = way
        self.status: int = response.status

    def header(self, name: str) -> str | None:
        """Return the value of a header; None without it."""
        return self._response.headers.get(name)

    def read(self) -> bytes:
        """Return the body.

        Raises:
            NoAnswerError: It breaks off.
        """
        with self._reading():
            return self._response.read()

    def pieces(self) -> Iterator[bytes]:
        """Yield the body as it comes.

        Raises:
            NoAnswerError: It breaks off.
        """
        with self._reading():
            while piece := self._response.read1(_PIECE):
                yield piece
            if self._response.length:  # read1 takes a broken connection for the end
                raise IncompleteRead(b"", self._response.length)

    def close(self) -> None:
        """Give up what is not read yet."""
        self._response.close()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Read to the end, after which the connection serves another answer."""
        try:
            yield
            self._response.close()
            if self._connection is not None:
                self._way.keep(self._connection)
                self._connection = None
        except _BROKEN as error:
            raise NoAnswerError(explain(error)) from error
        finally:
            self.close()


def _has_come(sock: socket.socket) -> bool:
    """Whether there is something to read, which on a free connection is its end."""
    with selectors.DefaultSelector() as selector:
        selector.register(sock, selectors.EVENT_READ)
        return bool(selector.select(0))


def _ascii(host: str) -> Any:  # noqa: ANN401 - typeshed knows names as text alone
    """Return a name as bytes where it can be: for text Python loads the tables of all scripts."""
    return host.encode() if host.isascii() else host


def _close_all(connections: list[HTTPConnection]) -> None:
    for connection in connections:
        connection.close()
