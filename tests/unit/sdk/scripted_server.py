"""A server that answers with the bytes it is told to, and a proxy that leads to it."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterable
from contextlib import suppress
from types import TracebackType
from typing import Self

WHOLE = b'HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{"kind": "Thing"}'
"""An answer after which the connection may go on."""
END = b""
"""A piece of an answer that ends its connection."""


class ScriptedServer:
    """Answers each request with the next bytes of a script, and with `WHOLE` after its end.

    Requests have no bodies here.

    Args:
        script: Answers in pieces; before each piece but the first and `END` it waits for `go_on`.
        tls: How it proves who it is; None for plain HTTP.

    Attributes:
        port: Its port.
        heads: Heads of the requests that came.
        subjects: Whom the certificates name that clients have shown, by connection.
        connections: How many there were.
        ended: Is released for each connection that is over.
        go_on: Is acquired before a further piece.
    """

    def __init__(
        self, script: Iterable[tuple[bytes, ...]] = (), *, tls: ssl.SSLContext | None = None
    ) -> None:
        self._script = iter(script)
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.port: int = self._listener.getsockname()[1]
        self.heads: list[str] = []
        self.subjects: list[object] = []
        self.connections = 0
        self.ended = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    @property
    def address(self) -> str:
        """Its address, without a path."""
        return f"{'http' if self._tls is None else 'https'}://127.0.0.1:{self.port}"

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
            one.close()
        self.go_on.release(99)
        self._thread.join()

    def _accept(self) -> None:
        threads = []
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._open.append(client)
                self.connections += 1
                threads.append(threading.Thread(target=self._serve, args=(client,)))
                threads[-1].start()
        for thread in threads:
            thread.join()

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


class Tunnel:
    """A proxy that takes CONNECT, and leads to one server whatever is asked for."""

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.asked: list[str] = []
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
        self._thread.join()
        for one in (self._listener, *self._open):
            one.close()

    def _accept(self) -> None:
        threads = []
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                self._open += [client, server]
                self.asked.append(_read_head(client).partition("\r\n")[0])
                client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                for pair in ((client, server), (server, client)):
                    threads.append(threading.Thread(target=self._pump, args=pair))
                    threads[-1].start()
        for thread in threads:
            thread.join()

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
