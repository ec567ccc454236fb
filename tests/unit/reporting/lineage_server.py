"""A server of OpenLineage on loopback: takes events, refuses, redirects, or never answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["LineageServer", "lineage_server"]


@dataclass
class LineageServer:
    """What was sent, and what is answered.

    Attributes:
        codes: Statuses of the next answers; then 201.
        said: Text of an answer that is no 201.
        location: Where it redirects to.
        silent: Never answers, until `released`.
        events: What it has taken.
        heard: Path and Authorization of each request.
    """

    url: str = ""
    codes: list[int] = field(default_factory=list)
    said: str = ""
    location: str = ""
    silent: bool = False
    released: threading.Event = field(default_factory=threading.Event)
    events: list[dict[str, Any]] = field(default_factory=list)
    heard: list[tuple[str, str | None]] = field(default_factory=list)

    @property
    def kinds(self) -> list[str]:
        """The types of the events."""
        return [event["eventType"] for event in self.events]


@contextmanager
def lineage_server() -> Iterator[LineageServer]:
    """A server while the block runs."""
    state = LineageServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.heard.append((self.path, self.headers["Authorization"]))
            self._answer(200)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            state.heard.append((self.path, self.headers["Authorization"]))
            if state.silent:
                state.released.wait()
                return
            code = state.codes.pop(0) if state.codes else 201
            if code < 300:
                state.events.append(json.loads(body))
            self._answer(code)

        def _answer(self, code: int) -> None:
            text = b"" if code < 300 else state.said.encode()
            self.send_response(code)
            if state.location:
                self.send_header("Location", state.location)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield state
    finally:
        state.released.set()
        server.shutdown()
        thread.join()
        server.server_close()
