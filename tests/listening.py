"""Servers of tests that take connections, and ways that lead to another server."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

__all__ = ["Listening", "Way"]

_PIECE = 65536


class Listening:
    """Takes connections, each in a thread of its own, until it is left.

    Threads and sockets live in the network of the thread that makes it.

    Args:
        host: Where it listens.

    Attributes:
        port: Its port.
        connections: How many there were.
    """

    def __init__(self, host: str = "127.0.0.1") -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family)
        self._changing = threading.Lock()
        self._open: set[socket.socket] = set()
        self._left = False
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
        self._left = True
        _end(self._listener)  # and the wait for the next connection
        self.cut()
        self._let_go()
        self._thread.join()
        self._listener.close()

    def cut(self) -> None:
        """Break all connections; new ones are taken as before."""
        with self._changing:
            for one in self._open:
                _end(one)

    def _accept(self) -> None:
        threads = []
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                threads.append(threading.Thread(target=self._take, args=(client,)))
                threads[-1].start()
        for thread in threads:
            thread.join()

    def _take(self, client: socket.socket) -> None:
        self._keep(client)
        with suppress(OSError):
            self._serve(client)
        self._close(client)

    def _serve(self, client: socket.socket) -> None:
        """Do what is to be done for a connection; it is closed afterwards."""
        raise NotImplementedError

    def _let_go(self) -> None:
        """Let threads end that wait for something else than a connection."""

    def _keep(self, one: socket.socket) -> None:
        """Have a connection break with all others."""
        with self._changing:
            self._open.add(one)
            if self._left:
                _end(one)

    def _close(self, one: socket.socket) -> None:
        with self._changing:
            self._open.discard(one)
            _end(one)
            one.close()


class Way(Listening):
    """Leads to a server: what one side says, and that it has said all, comes to the other.

    Args:
        host: Host of the server.
        port: Its port.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        super().__init__()

    def _serve(self, client: socket.socket) -> None:
        server = socket.create_connection(self._target)
        self._keep(server)
        try:
            self._greet(client)
            there = threading.Thread(
                target=self._pump, args=(client, server, lambda data: self._tell(server, data))
            )
            there.start()
            self._pump(server, client, client.sendall)
            there.join()
        finally:
            self._close(server)

    def _greet(self, client: socket.socket) -> None:
        """Speak to a client before anything is passed on."""

    def _tell(self, server: socket.socket, data: bytes) -> None:
        """Pass on to the server what a client has said."""
        server.sendall(data)

    def _pump(
        self, source: socket.socket, sink: socket.socket, tell: Callable[[bytes], None]
    ) -> None:
        with suppress(OSError):
            while data := source.recv(_PIECE):
                tell(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


def _end(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
