"""Ways that lead to servers of tests do what networks do."""

from __future__ import annotations

import socket
import threading

from tests.listening import Listening, Way


class Echo(Listening):
    """Says again what was said, once all was said.

    Attributes:
        heard: Is released for each piece that has come.
    """

    def __init__(self) -> None:
        self.heard = threading.Semaphore(0)
        super().__init__()

    def _serve(self, client: socket.socket) -> None:
        said = b""
        while piece := client.recv(64):
            said += piece
            self.heard.release()
        client.sendall(said)


def test_who_has_said_all_still_hears_the_answer() -> None:
    before = set(threading.enumerate())
    with (
        Echo() as server,
        Way("127.0.0.1", server.port) as way,
        socket.create_connection(("127.0.0.1", way.port)) as client,
    ):
        client.sendall(b"all")
        client.shutdown(socket.SHUT_WR)
        assert client.recv(64) == b"all"
        assert client.recv(64) == b""
    assert (server.connections, way.connections) == (1, 1)
    assert set(threading.enumerate()) == before


def test_connections_that_are_cut_are_over_and_new_ones_are_taken() -> None:
    with Echo() as server, Way("127.0.0.1", server.port) as way:
        for _ in range(2):
            with socket.create_connection(("127.0.0.1", way.port)) as client:
                client.sendall(b"all")
                server.heard.acquire()
                way.cut()
                assert client.recv(64) == b""


def test_it_is_left_while_connections_last() -> None:
    before = set(threading.enumerate())
    with Echo() as server, Way("127.0.0.1", server.port) as way:
        client = socket.create_connection(("127.0.0.1", way.port))
    client.close()
    assert set(threading.enumerate()) == before
