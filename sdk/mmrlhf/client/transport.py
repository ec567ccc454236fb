"""Requests to one API server over connections that are kept: what urllib3 is told, and when."""

from __future__ import annotations

import os
import socket
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from urllib3 import (
    BaseHTTPResponse,
    HTTPHeaderDict,
    PoolManager,
    ProxyManager,
    Timeout,
)
from urllib3.connection import HTTPConnection
from urllib3.util import make_headers
from urllib3.util.ssl_ import create_urllib3_context

from mmrlhf.client.access import Access, Tls
from mmrlhf.client.credentials import Credential
from mmrlhf.errors import CredentialsError, UsageError

__all__ = ["Request", "Transport"]

_POOL = 10
"""Connections that are kept: as many as threads of ours."""
_KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 9}
"""As client-go has it: a watch over a connection that is gone ends within minutes."""


@dataclass(frozen=True)
class Request:
    """A request, without who asks.

    Attributes:
        method: Its method.
        path: Its path, with the query.
        headers: Its headers.
        body: Its body; None without one.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: str | None = None


class Transport:
    """Sends requests. Threads may share it.

    Args:
        access: How the server is reached.
    """

    def __init__(self, access: Access) -> None:
        self._access = access
        self._pools: tuple[Credential, PoolManager] | None = None

    def send(
        self, request: Request, credential: Credential, *, timeout: tuple[float, float | None]
    ) -> BaseHTTPResponse:
        """Return the answer to a request as soon as its head is there; its body is not read yet.

        Args:
            request: The request.
            credential: Who asks.
            timeout: Seconds to connect, and to wait for a piece of the answer; None for ever.

        Raises:
            HTTPError: There is no answer.
        """
        headers = HTTPHeaderDict(request.headers)
        if credential.authorization is not None:
            headers["Authorization"] = credential.authorization
        for name, value in self._access.acting:
            headers.add(name, value)
        return self._pool(credential).request(
            request.method,
            self._access.server + request.path,
            body=request.body,
            headers=headers,
            timeout=Timeout(connect=timeout[0], read=timeout[1]),
            preload_content=False,
            redirect=False,  # credentials are for this server alone
            retries=False,  # `cluster` knows better when to
        )

    def _pool(self, credential: Credential) -> PoolManager:
        """Return the connections of a credential: another certificate needs others."""
        if self._pools is not None:
            known, pool = self._pools
            if (known.certificate, known.key) == (credential.certificate, credential.key):
                return pool
        options: dict[str, Any] = {"maxsize": _POOL, "socket_options": _socket_options()}
        if self._access.server.startswith("https:"):
            options |= _tls_options(self._access.tls, credential)
        pool = _pool_manager(self._access.proxy, options)
        self._pools = (credential, pool)
        return pool


def _pool_manager(proxy: str | None, options: Mapping[str, Any]) -> PoolManager:
    if proxy is None:
        return PoolManager(**options)
    parts = urlsplit(proxy)
    if parts.scheme.startswith("socks"):
        try:
            from urllib3.contrib.socks import SOCKSProxyManager
        except ImportError as error:
            raise UsageError(f"proxy {proxy}: SOCKS needs the package PySocks") from error
        return SOCKSProxyManager(proxy, **options)
    if parts.scheme not in {"http", "https"}:
        raise UsageError(f"proxy {proxy}: its scheme must be http, https or socks5")
    headers = None
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers = make_headers(proxy_basic_auth=pair)
    return ProxyManager(proxy, proxy_headers=headers, **options)


def _socket_options() -> list[tuple[int, int, int | bytes]]:
    own = [
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in _KEEPALIVE.items()
        if hasattr(socket, name)
    ]
    kept = (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return [*HTTPConnection.default_socket_options, kept, *own]


def _tls_options(tls: Tls, credential: Credential) -> dict[str, Any]:
    required = ssl.CERT_REQUIRED if tls.verify else ssl.CERT_NONE
    context = create_urllib3_context(cert_reqs=required)
    if tls.ca is not None:
        try:
            context.load_verify_locations(cadata=tls.ca.decode())
        except (ssl.SSLError, ValueError) as error:
            raise UsageError(
                f"certificates of the cluster's authority cannot be read: {error}"
            ) from error
    elif tls.verify:
        context.load_default_certs()
    if credential.certificate is not None:
        _show_certificate(context, credential)
    options = {"ssl_context": context, "cert_reqs": required}
    return options if tls.server_name is None else options | {"server_hostname": tls.server_name}


def _show_certificate(context: ssl.SSLContext, credential: Credential) -> None:
    """Let a context show a certificate; OpenSSL takes files alone, which are gone at once."""
    with tempfile.TemporaryDirectory(prefix="mmrlhf-") as folder:
        paths = []
        for name, data in (("cert", credential.certificate), ("key", credential.key)):
            path = Path(folder, name)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
                file.write(data or b"")
            paths.append(path)
        try:
            context.load_cert_chain(paths[0], paths[1] if credential.key is not None else None)
        except (ssl.SSLError, OSError) as error:
            raise CredentialsError(
                f"the client's certificate and key cannot be used: {error}"
            ) from error
