"""Requests to one API server as one user, over connections that are kept."""

from __future__ import annotations

import socket
from typing import Final

from mmrlhf.client.access import Access
from mmrlhf.client.credentials import Credential
from mmrlhf.client.direct import DirectWay
from mmrlhf.client.exchange import Answer, Request, Timeout, Way
from mmrlhf.client.tls import tls_context
from mmrlhf.errors import UsageError

__all__ = ["Transport"]

_KEEPALIVE: Final = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 9}
"""As client-go has it: a watch over a connection that is gone ends within minutes."""


class Transport:
    """Sends requests. Threads may share it.

    Args:
        access: How the server is reached.
    """

    def __init__(self, access: Access) -> None:
        self._access = access
        self._known: tuple[Credential, Way] | None = None

    def send(self, request: Request, credential: Credential, *, timeout: Timeout) -> Answer:
        """Return the answer to a request as soon as its head is there; its body is not read yet.

        Args:
            request: The request, without who asks.
            credential: Who asks.
            timeout: Seconds to connect, and to wait for a piece of the answer; None for ever.

        Raises:
            NoAnswerError: There is no answer.
            UsageError: The server cannot be spoken to as it is configured.
            CredentialsError: The credential cannot be shown.
        """
        shown = credential.authorization
        asking = () if shown is None else (("Authorization", shown),)
        own = (*asking, *self._access.acting)
        headers = (*request.headers, *((name, _in_utf8(value)) for name, value in own))
        return self._way(credential).send(
            Request(request.method, request.path, headers, request.body), timeout
        )

    def _way(self, credential: Credential) -> Way:
        """Return the way for a credential: another certificate needs other connections."""
        if self._known is not None:
            known, way = self._known
            if (known.certificate, known.key) == (credential.certificate, credential.key):
                return way
        way = _find_way(self._access, credential)
        self._known = (credential, way)
        return way


def _in_utf8(value: str) -> str:
    """Return what is sent as a header in UTF-8, as client-go does: all else here sends latin-1."""
    return value if value.isascii() else value.encode().decode("latin-1")


def _find_way(access: Access, credential: Credential) -> Way:
    # As for kubectl, an address alone is one of plain HTTP.
    server = access.server if "://" in access.server else f"http://{access.server}"
    scheme = server.partition(":")[0].lower()
    if scheme not in {"http", "https"}:
        raise UsageError(f"server {server}: its scheme must be http or https")
    context = tls_context(access.tls, credential) if scheme == "https" else None
    name, options = access.tls.server_name, _socket_options()
    if access.proxy is None:
        return DirectWay(server, context=context, server_name=name, options=options)
    # Only who has a proxy needs what knows how to speak to one.
    from mmrlhf.client.proxied import ProxiedWay

    return ProxiedWay(server, access.proxy, context=context, server_name=name, options=options)


def _socket_options() -> list[tuple[int, int, int]]:
    own = [
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in _KEEPALIVE.items()
        if hasattr(socket, name)
    ]
    return [
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        *own,
    ]
