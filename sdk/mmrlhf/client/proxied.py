"""Requests to a server by a proxy: urllib3 knows them all, and nothing else here loads it."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import urllib3
from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError

from mmrlhf.client.exchange import NoAnswerError, Request, Timeout, explain
from mmrlhf.errors import UsageError

__all__ = ["ProxiedWay"]

_KEPT: Final = 10
"""Connections that are kept: as many as threads of ours."""
_PIECE: Final = 65536


class ProxiedWay:
    """A server, the proxy that leads to it and the connections. Threads may share it.

    Args:
        server: Its address.
        proxy: That of the proxy.
        context: How the server proves who it is; None for one that need not.
        server_name: Name that its certificate must have; None for that of the address.
        options: Options of sockets.

    Raises:
        UsageError: There is no such proxy.
    """

    def __init__(
        self,
        server: str,
        proxy: str,
        *,
        context: ssl.SSLContext | None,
        server_name: str | None,
        options: list[tuple[int, int, int]],
    ) -> None:
        self._server = server
        given: dict[str, Any] = {
            "maxsize": _KEPT,
            "socket_options": [*HTTPConnection.default_socket_options, *options],
        }
        if context is not None:
            given |= {"ssl_context": context, "cert_reqs": context.verify_mode}
            if server_name is not None:
                given["server_hostname"] = server_name
        self._pool = _pool(proxy, given)
        # Lost connections and full pools are told where they matter, in words for users.
        logging.getLogger("urllib3").setLevel(logging.CRITICAL)

    def send(self, request: Request, timeout: Timeout) -> ProxiedAnswer:
        """Return the answer to a request as soon as its head is there.

        Raises:
            NoAnswerError: There is none.
        """
        headers = urllib3.HTTPHeaderDict()
        for name, value in request.headers:
            headers.add(name, value)
        with _explained():
            return ProxiedAnswer(
                self._pool.request(
                    request.method,
                    self._server + request.path,
                    body=request.body,
                    headers=headers,
                    timeout=urllib3.Timeout(connect=timeout[0], read=timeout[1]),
                    preload_content=False,
                    redirect=False,  # credentials are for this server alone
                    retries=False,  # `cluster` knows better when to
                )
            )


class ProxiedAnswer:
    """An answer whose head is there; see `Answer`."""

    def __init__(self, response: urllib3.BaseHTTPResponse) -> None:
        self._response = response
        self.status: int = response.status

    def header(self, name: str) -> str | None:
        """Return the value of a header; None without it."""
        return self._response.headers.get(name)

    def read(self) -> bytes:
        """Return the body.

        Raises:
            NoAnswerError: It breaks off.
        """
        with _explained():
            try:
                return self._response.read()
            finally:
                self._response.release_conn()

    def pieces(self) -> Iterator[bytes]:
        """Yield the body as it comes.

        Raises:
            NoAnswerError: It breaks off.
        """
        with _explained():
            yield from self._response.stream(_PIECE)

    def close(self) -> None:
        """Give up what is not read yet."""
        self._response.close()


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except (HTTPError, OSError) as error:
        raise NoAnswerError(explain(error)) from error


def _pool(proxy: str, options: dict[str, Any]) -> urllib3.PoolManager:
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
        headers = urllib3.util.make_headers(proxy_basic_auth=pair)
    return urllib3.ProxyManager(proxy, proxy_headers=headers, **options)
