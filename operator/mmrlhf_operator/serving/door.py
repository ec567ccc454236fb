"""Connections to a server of ours, kept few and short.

Whoever can reach a port can open connections, and need not say anything. So there are only so many
at once, in all and of one peer; the head of a request must be whole within seconds, and small; and
a connection serves one request. aiohttp limits the length of a line, but not how long one takes.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web

__all__ = ["Door", "Limits", "peer_of"]

_LOG = logging.getLogger(__name__)
_LINGER_SECONDS = 2.0
_SHUTDOWN_SECONDS = 5.0
_SITE_BITS = 64
"""Whoever has one IPv6 address commonly has all of a /64 (RFC 6177)."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a server puts up with.

    Attributes:
        head_seconds: Until the head of a request is whole, from the connection on.
        body_seconds: Until its body is, from then on.
        early_bytes: Bytes that may arrive before the head is whole.
        connections: Connections at once.
        peer_connections: Those of one peer.
    """

    head_seconds: float = 10.0
    body_seconds: float = 20.0
    early_bytes: int = 512 * 1024
    connections: int = 256
    peer_connections: int = 16


class Door:
    """Lets connections in to an application, up to some limits.

    Args:
        limits: What it puts up with.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._guests: dict[asyncio.BaseTransport, _Guest] = {}
        self._peers: Counter[str] = Counter()

    @property
    def connections(self) -> int:
        """Connections that are open now."""
        return len(self._guests)

    @asynccontextmanager
    async def opened(self, app: web.Application, address: str) -> AsyncIterator[tuple[str, int]]:
        """Serve for the length of a ``with`` block; gives the address that is listened at.

        Args:
            app: What is served; not started yet.
            address: Host and port.
        """
        app.middlewares.append(self._enter)
        runner = web.AppRunner(
            app,
            access_log=None,
            handler_cancellation=True,  # nobody waits for the answer any more
            lingering_time=_LINGER_SECONDS,
            shutdown_timeout=_SHUTDOWN_SECONDS,
            auto_decompress=False,  # a small body stays one
        )
        await runner.setup()
        try:
            host, _, port = address.rpartition(":")
            inner = runner.server
            assert inner is not None  # it is set up
            server = await asyncio.get_running_loop().create_server(
                lambda: _Guest(self, inner()), host.strip("[]") or None, int(port)
            )
            try:
                yield server.sockets[0].getsockname()[:2]
            finally:
                server.close()
        finally:
            await runner.cleanup()

    def admit(self, guest: _Guest, transport: asyncio.BaseTransport) -> bool:
        """Count a connection in; False when there are too many."""
        peer = peer_of(transport)
        full = len(self._guests) >= self._limits.connections
        if full or self._peers[peer] >= self._limits.peer_connections:
            _LOG.debug("a connection of %s is refused: there are %d", peer, len(self._guests))
            return False
        self._guests[transport] = guest
        self._peers[peer] += 1
        guest.expect_head(self._limits.head_seconds, self._limits.early_bytes)
        return True

    def leave(self, transport: asyncio.BaseTransport) -> None:
        """Count a connection out."""
        if self._guests.pop(transport, None) is None:
            return
        peer = peer_of(transport)
        self._peers[peer] -= 1
        if not self._peers[peer]:
            del self._peers[peer]

    @web.middleware
    async def _enter(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The head of a request is whole: answer it, and then hang up."""
        guest = self._guests.get(request.transport) if request.transport is not None else None
        if guest is not None:
            guest.head_is_whole()
        try:
            response = await handler(request)
        except web.HTTPException as error:
            error.force_close()
            raise
        response.force_close()
        return response


class _Guest(asyncio.Protocol):
    """A connection: what arrives is passed on to aiohttp's protocol, while the limits hold."""

    def __init__(self, door: Door, inner: asyncio.Protocol) -> None:
        self._door = door
        self._inner = inner
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._early: int | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        if not self._door.admit(self, transport):
            transport.abort()
            return
        self._transport = transport
        self._inner.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        if self._transport is not None:
            self._door.leave(self._transport)
            self._transport = None
            self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._transport is None:
            return
        if self._early is not None:
            self._early -= len(data)
            if self._early < 0:
                self._hang_up()
                return
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return None if self._transport is None else self._inner.eof_received()

    def pause_writing(self) -> None:
        if self._transport is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._transport is not None:
            self._inner.resume_writing()

    def expect_head(self, seconds: float, most: int) -> None:
        """Hang up unless the head of a request is whole within a time and a number of bytes."""
        self._early = most
        self._timer = asyncio.get_running_loop().call_later(seconds, self._hang_up)

    def head_is_whole(self) -> None:
        """From here on, whoever handles the request has its own limits."""
        self._early = None
        self._stop()

    def _hang_up(self) -> None:
        self._stop()
        if self._transport is not None:
            self._transport.abort()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def peer_of(transport: asyncio.BaseTransport | None) -> str:
    """Who is at the other end: an IPv4 address, or the first half of an IPv6 one."""
    name: Any = None if transport is None else transport.get_extra_info("peername")
    host = str(name[0]) if isinstance(name, tuple) and name else ""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.IPv6Network((int(address), _SITE_BITS), strict=False))
    return str(address)
