"""A server that answers with the bytes it is told to, and a proxy that leads to it."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Self

WHOLE = b'HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{"kind": "Thing"}'
"""An answer after which the connection may go on."""
END = b""
"""A piece of an answer that ends its connection."""


class _Listening:
    """Takes connections in threads of its own, until it is left.

    Attributes:
        port: Its port.
        connections: How many there were.
    """

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for one in (self._listener, *self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._let_go()
        self._thread.join()
        for one in (self._listener, *self._open):
            one.close()

    def _accept(self) -> None:
        threads = []
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._open.append(client)
                self.connections += 1
                for work in self._take(client):
                    threads.append(threading.Thread(target=work))
                    threads[-1].start()
        for thread in threads:
            thread.join()

    def _take(self, client: socket.socket) -> Iterable[Callable[[], None]]:
        """Return what is to be done for a connection, each in a thread."""
        raise NotImplementedError

    def _let_go(self) -> None:
        """Let threads end that wait for something else than a connection."""


class ScriptedServer(_Listening):
    """Answers each request with the next bytes of a script, and with `WHOLE` after its end.

    Requests have no bodies here.

    Args:
        script: Answers in pieces; before each piece but the first and `END` it waits for `go_on`.
        tls: How it proves who it is; None for plain HTTP.

    Attributes:
        heads: Heads of the requests that came.
        subjects: Whom the certificates name that clients have shown, by connection.
        ended: Is released for each connection that is over.
        go_on: Is acquired before a further piece.
    """

    def __init__(
        self, script: Iterable[tuple[bytes, ...]] = (), *, tls: ssl.SSLContext | None = None
    ) -> None:
        self._script = iter(script)
        self._tls = tls
        self.heads: list[str] = []
        self.subjects: list[object] = []
        self.ended = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)
        super().__init__()

    @property
    def address(self) -> str:
        """Its address, without a path."""
        return f"{'http' if self._tls is None else 'https'}://127.0.0.1:{self.port}"

    def _take(self, client: socket.socket) -> Iterable[Callable[[], None]]:
        return [partial(self._serve, client)]

    def _let_go(self) -> None:
        self.go_on.release(99)

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError):
            if self._tls is not None:
                client = self._tls.wrap_socket(client, server_side=True)
                self._open.append(client)
                certificate = client.getpeercert() or {}
                self.subjects.append(certificate.get("subject"))
            while head := _read_head(client):
                self.heads.append(head)
                self._answer(client, next(self._script, (WHOLE,)))
        with suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)
        client.close()
        self.ended.release()

    def _answer(self, client: socket.socket, pieces: tuple[bytes, ...]) -> None:
        for place, piece in enumerate(pieces):
            if piece == END:
                client.shutdown(socket.SHUT_RDWR)
                return
            if place:
                self.go_on.acquire()
            client.sendall(piece)


class Tunnel(_Listening):
    """A proxy that takes CONNECT, and leads to one server whatever is asked for."""

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        super().__init__()

    @property
    def address(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def _take(self, client: socket.socket) -> Iterable[Callable[[], None]]:
        server = socket.create_connection(self._target)
        self._open.append(server)
        _read_head(client)  # which may ask for anything
        client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        pairs = ((client, server), (server, client))
        return [partial(self._pump, source, sink) for source, sink in pairs]

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


def _read_head(client: socket.socket) -> str:
    """Read a head; empty at the end of the connection."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        if not (piece := client.recv(1)):
            return ""
        head += piece
    return head.decode()
