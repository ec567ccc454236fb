"""Servers on this machine that answer as no honest one does."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.patience import PATIENCE

__all__ = ["MIB", "Connection", "Server", "answering", "serving"]

MIB = 2**20
_WAIT = 60.0 * PATIENCE


@dataclass
class Connection:
    """One connection, of which the request was read."""

    inner: socket.socket
    head: str
    server: Server

    def send(self, data: bytes) -> None:
        self.inner.sendall(data)
        self.server.sent += len(data)

    def flood(self, data: bytes, most: int = 1024 * MIB) -> None:
        """Send the same again and again, until the other side has enough of it."""
        sent = 0
        while sent < most:
            self.send(data)
            sent += len(data)

    def wait_for_end(self) -> None:
        """Say nothing until the other side closes."""
        while self.inner.recv(4096):
            pass


@dataclass
class Server:
    """A server that runs.

    Attributes:
        port: Its port.
        heads: Requests with their headers, in order.
        sent: Bytes that it has handed to the network.
        ended: Set for each connection that has ended.
    """

    port: int
    host: str = "127.0.0.1"
    heads: list[str] = field(default_factory=list)
    sent: int = 0
    ended: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    @property
    def endpoint(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def wait_for_ends(self, count: int = 1) -> None:
        """Wait until connections were closed by the other side, or by the server."""
        for _ in range(count):
            assert self.ended.acquire(timeout=_WAIT)

    @property
    def lines(self) -> list[str]:
        """First lines of the requests, without the version."""
        return [head.split("\r\n", 1)[0].rpartition(" ")[0] for head in self.heads]


@contextlib.contextmanager
def serving(answer: Callable[[Connection], None], *, host: str = "127.0.0.1") -> Iterator[Server]:
    """Serve on a port of its own, each connection in a thread, for the length of a block."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, 0), family=family)
    server = Server(listener.getsockname()[1], host)
    open_ones: list[socket.socket] = []

    def serve_one(inner: socket.socket) -> None:
        with inner, contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                piece = inner.recv(65536)
                if not piece:
                    break
                head += piece
            server.heads.append(head.decode("latin-1"))
            answer(Connection(inner, server.heads[-1], server))
        server.ended.release()

    def accept() -> None:
        while True:
            try:
                inner, _ = listener.accept()
            except OSError:
                return
            open_ones.append(inner)
            threading.Thread(target=serve_one, args=(inner,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(_WAIT)
        for inner in open_ones:
            with contextlib.suppress(OSError):
                inner.shutdown(socket.SHUT_RDWR)


def answering(status: str, body: bytes = b"", **headers: str) -> Callable[[Connection], None]:
    """An answer that is always the same; `_` in the name of a header stands for a hyphen."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]

    def answer(connection: Connection) -> None:
        head = "\r\n".join([*lines, "", ""]).encode()
        connection.send(head if connection.head.startswith("HEAD") else head + body)

    return answer
