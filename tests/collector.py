"""A collector of OpenTelemetry on loopback, which keeps what it is sent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Status


@dataclass(frozen=True)
class Told:
    """A span as it came over the wire."""

    name: str
    trace: str
    id: str
    parent: str
    start: int
    end: int
    failed: str | None
    attributes: dict[str, str | int] = field(hash=False)


@dataclass
class Collector:
    """What it was sent.

    Attributes:
        url: Where it is.
        spans: All spans, as they came.
        headers: Those of each request.
        services: Values of ``service.name``.
        status: What it answers with.
    """

    url: str = ""
    spans: list[Told] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    services: set[str] = field(default_factory=set)
    status: int = 200

    def take(self, content: bytes) -> None:
        for resource in ExportTraceServiceRequest.FromString(content).resource_spans:
            about = _values(resource.resource.attributes)
            self.services.add(str(about["service.name"]))
            for scope in resource.scope_spans:
                self.spans += [_told(span) for span in scope.spans]

    def named(self, name: str) -> list[Told]:
        return [span for span in self.spans if span.name == name]


def _told(span: Any) -> Told:
    return Told(
        name=span.name,
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        start=span.start_time_unix_nano,
        end=span.end_time_unix_nano,
        failed=span.status.message if span.status.code == Status.STATUS_CODE_ERROR else None,
        attributes=_values(span.attributes),
    )


def _values(attributes: Any) -> dict[str, str | int]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


@contextmanager
def collector() -> Iterator[Collector]:
    """Serve one."""
    kept = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            kept.headers.append({**self.headers, "path": self.path})
            if kept.status == 200:
                kept.take(content)
            self.send_response(kept.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    kept.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield kept
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
