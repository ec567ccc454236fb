"""Requests as a server gets them: who asks, for whom, and by which way."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from mmrlhf.client.access import Access, Tls
from mmrlhf.client.cluster import Cluster
from mmrlhf.client.credentials import Credential, Credentials, Fixed, Renewed
from mmrlhf.errors import CredentialsError, UsageError


@dataclass
class Server:
    """An API server that has one object, and takes one token where it is told to."""

    url: str
    accepts: str | None = None
    redirects: bool = False
    heard: list[tuple[str, list[tuple[str, str]]]] = field(default_factory=list)

    def headers(self, name: str) -> list[str]:
        """Return the values of a header of the latest request."""
        return [value for key, value in self.heard[-1][1] if key.lower() == name.lower()]


@pytest.fixture
def server() -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told.heard.append((self.path, self.headers.items()))
            good = told.accepts in {None, self.headers.get("Authorization")}
            status = 302 if told.redirects else 200 if good else 401
            body = b'{"kind": "Thing"}' if good else json.dumps({"kind": "Status"}).encode()
            self.send_response(status)
            if told.redirects:
                self.send_header("Location", "http://127.0.0.1:1/else")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        told = Server(f"http://127.0.0.1:{http.server_address[1]}")
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield told
        http.shutdown()
        thread.join()


def access(server: str, credentials: Credentials | None = None) -> Access:
    return Access(
        server=server,
        tls=Tls(),
        credentials=credentials or Fixed(Credential()),
        proxy=None,
        namespace="default",
        context="prod",
        user="jane",
    )


def test_who_asks_and_for_whom_is_said(server: Server) -> None:
    found = access(server.url, Fixed(Credential(authorization="Bearer t")))
    groups = (("Impersonate-User", "ann"), ("Impersonate-Group", "a"), ("Impersonate-Group", "b"))
    assert Cluster(replace(found, acting=groups)).get("/apis/x") == {"kind": "Thing"}
    assert server.heard[-1][0] == "/apis/x"
    assert server.headers("Authorization") == ["Bearer t"]
    assert server.headers("Impersonate-User") == ["ann"]
    assert server.headers("Impersonate-Group") == ["a", "b"]
    Cluster(access(server.url)).get("/version")
    assert server.headers("Authorization") == []


def test_a_refused_credential_is_renewed_once(server: Server) -> None:
    server.accepts = "Bearer 1"
    made: list[Credential] = []

    def make() -> Credential:
        made.append(Credential(authorization=f"Bearer {len(made)}"))
        return made[-1]

    cluster = Cluster(access(server.url, Renewed(make)))
    assert cluster.get("/version") == {"kind": "Thing"}
    assert (len(made), len(server.heard)) == (2, 2)
    server.accepts = "Bearer none"
    with pytest.raises(CredentialsError, match="refuses the credentials of user jane"):
        cluster.get("/version")
    assert (len(made), len(server.heard)) == (3, 4)


def test_one_that_stays_is_not_shown_twice(server: Server) -> None:
    server.accepts = "Bearer other"
    with pytest.raises(CredentialsError):
        Cluster(access(server.url)).get("/version")
    assert len(server.heard) == 1


def test_a_proxy_is_asked_for_the_server(server: Server) -> None:
    proxy = server.url.replace("http://", "http://me:p%40ss@")
    cluster = Cluster(replace(access("http://k8s.invalid"), proxy=proxy))
    assert cluster.get("/version") == {"kind": "Thing"}
    assert server.heard[-1][0] == "http://k8s.invalid/version"
    pair = base64.b64encode(b"me:p@ss").decode()
    assert server.headers("Proxy-Authorization") == [f"Basic {pair}"]


def test_nobody_is_sent_elsewhere(server: Server) -> None:
    server.redirects = True
    assert Cluster(access(server.url)).get("/version") == {"kind": "Thing"}
    assert len(server.heard) == 1


@pytest.mark.parametrize(
    ("changes", "error", "told"),
    [
        (
            {"credentials": Fixed(Credential(certificate=b"CERT", key=b"KEY"))},
            CredentialsError,
            "certificate and key cannot be used",
        ),
        ({"tls": Tls(ca=b"AUTHORITY")}, UsageError, "authority cannot be read"),
        ({"proxy": "ftp://proxy"}, UsageError, "its scheme must be http, https or socks5"),
    ],
)
def test_what_cannot_be_used_is_told(
    changes: dict[str, Any], error: type[Exception], told: str
) -> None:
    cluster = Cluster(replace(access("https://127.0.0.1:1"), **changes))
    with pytest.raises(error, match=told):
        cluster.get("/version")
