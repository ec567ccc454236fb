"""A server that answers with the bytes it is told to, and a proxy that leads to it."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterable

from tests.listening import Listening, Way

WHOLE = b'HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{"kind": "Thing"}'
"""An answer after which the connection may go on."""
END = b""
"""A piece of an answer that ends its connection."""


class ScriptedServer(Listening):
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

    def _let_go(self) -> None:
        self.go_on.release(99)

    def _serve(self, client: socket.socket) -> None:
        one = client
        try:
            if self._tls is not None:
                one = self._tls.wrap_socket(client, server_side=True)
                self._keep(one)
                certificate = one.getpeercert() or {}
                self.subjects.append(certificate.get("subject"))
            while head := _read_head(one):
                self.heads.append(head)
                self._answer(one, next(self._script, (WHOLE,)))
        finally:
            self._close(one)
            self.ended.release()

    def _answer(self, client: socket.socket, pieces: tuple[bytes, ...]) -> None:
        for place, piece in enumerate(pieces):
            if piece == END:
                client.shutdown(socket.SHUT_RDWR)
                return
            if place:
                self.go_on.acquire()
            client.sendall(piece)


class Tunnel(Way):
    """A proxy that takes CONNECT, and leads to one server whatever is asked for."""

    def __init__(self, port: int) -> None:
        super().__init__("127.0.0.1", port)

    @property
    def address(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def _greet(self, client: socket.socket) -> None:
        _read_head(client)  # which may ask for anything
        client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")


def _read_head(client: socket.socket) -> str:
    """Read a head; empty at the end of the connection."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        if not (piece := client.recv(1)):
            return ""
        head += piece
    return head.decode()
