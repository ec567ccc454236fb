"""The tests' own client, against a server of this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.client import RemoteDisconnected
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Barrier, Thread

import pytest

from tests.cluster.api import Api
from tests.patience import PATIENCE


class Handler(BaseHTTPRequestHandler):
    """Answers with the number of its connection, and hangs up in silence where it is told to."""

    protocol_version = "HTTP/1.1"
    connections = 0
    asked = 0
    together = Barrier(2)

    def setup(self) -> None:
        super().setup()
        type(self).connections += 1
        self.number = self.connections

    def do_GET(self) -> None:
        type(self).asked += 1
        if self.path == "/together":
            self.together.wait(timeout=60 * PATIENCE)
        if self.path == "/gone" and self.number == 1:
            self.close_connection = True
            return
        body = b'{"connection": %d}' % self.number
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        # Without a word, as a server does with what was idle for too long.
        self.close_connection = self.path == "/last"

    do_POST = do_PATCH = do_GET  # noqa: N815 - the base class looks for these names

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def server() -> Iterator[tuple[Api, type[Handler]]]:
    class Own(Handler):
        together = Barrier(2)

    with ThreadingHTTPServer(("127.0.0.1", 0), Own) as listener:
        thread = Thread(target=listener.serve_forever, args=(0.01,))
        thread.start()
        try:
            api = Api(f"http://127.0.0.1:{listener.server_port}")
            yield api, Own
        finally:
            listener.shutdown()
            thread.join()


def test_what_reads_uses_a_connection_again() -> None:
    with server() as (api, _):
        assert [api.get("/")["connection"] for _ in range(5)] == [1] * 5


def test_what_writes_has_a_connection_of_its_own() -> None:
    with server() as (api, _):
        seen = [
            api.get("/")["connection"],
            api.create("/", {})["connection"],
            api.patch("/", {})["connection"],
            api.get("/")["connection"],
        ]
    assert seen == [1, 2, 3, 1]


@pytest.mark.parametrize("path", ["/last", "/gone"])
def test_a_connection_that_the_server_gave_up_is_none(path: str) -> None:
    """Whether it is closed before the next question or by it."""
    with server() as (api, handler):
        assert api.get("/")["connection"] == 1
        api.get(path)
        assert api.get("/")["connection"] == 2
        assert handler.connections == 2


def test_what_breaks_on_a_new_connection_is_told_at_once() -> None:
    with server() as (api, handler):
        with pytest.raises(RemoteDisconnected):
            api.get("/gone")
        assert handler.asked == 1


def test_threads_do_not_share_a_connection_at_once() -> None:
    numbers = list[int]()
    with server() as (api, _):
        threads = [
            Thread(target=lambda: numbers.append(api.get("/together")["connection"]))
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert api.get("/")["connection"] in numbers
    assert sorted(numbers) == [1, 2]
