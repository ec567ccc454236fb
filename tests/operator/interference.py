"""A way to the API server on which watches go wrong, as networks and servers do it to them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

import aiohttp
from aiohttp import web

Trouble = Literal["410", "429", "500", "cut", "silence"]
"""What goes wrong.

429 and 500: Every other list and watch is refused.
410: Streams end with the news that their version is too old, after two events.
cut: Connections are lost in the middle of the third event.
silence: Connections stay, but nothing comes any more after two events, on the first two streams.
"""

_EVENTS = 2
_SILENT = 2
_EXPIRED = {
    "type": "ERROR",
    "object": {
        "apiVersion": "v1",
        "kind": "Status",
        "status": "Failure",
        "reason": "Expired",
        "message": "injected: too old resource version",
        "code": 410,
    },
}


@dataclass
class Interference:
    """What was done.

    Attributes:
        trouble: What goes wrong.
        url: Where to ask.
        asked: Lists and watches by what they were of.
        spoiled: Those of them that went wrong.
    """

    trouble: Trouble
    url: str = ""
    asked: Counter[str] = field(default_factory=Counter)
    spoiled: Counter[str] = field(default_factory=Counter)

    def refuses(self, name: str) -> bool:
        """Whether this one is not answered."""
        self.asked[name] += 1
        if self.trouble in {"429", "500"} and self.asked[name] % 2 == 1:
            self.spoiled[name] += 1
            return True
        return False

    def spoils(self, name: str, events: int) -> bool:
        """Whether a watch goes wrong now, after so many events."""
        if events < _EVENTS or self.trouble in {"429", "500"}:
            return False
        if self.trouble == "silence" and self.spoiled[name] >= _SILENT:
            return False
        self.spoiled[name] += 1
        return True


@asynccontextmanager
async def interfered(
    server: str, tls: ssl.SSLContext, trouble: Trouble
) -> AsyncIterator[Interference]:
    """Forward to a server for the length of a ``with`` block, and spoil lists and watches."""
    ours = Interference(trouble)

    async def forward(request: web.Request) -> web.StreamResponse:
        watch = "watch" in request.query
        name = f"{'watch' if watch else 'list'} {request.path.rpartition('/')[2]}"
        if ours.refuses(name):
            return web.json_response(
                {"kind": "Status", "code": int(trouble), "message": "injected"},
                status=int(trouble),
                headers={"Retry-After": "1"} if trouble == "429" else {},
            )
        async with session.get(
            f"{server}{request.path_qs}", headers={"Accept": "application/json"}
        ) as answer:
            response = web.StreamResponse(status=answer.status)
            response.content_type = answer.content_type
            await response.prepare(request)
            events = 0
            async for line in _lines(answer) if watch else answer.content.iter_any():
                if watch and ours.spoils(name, events):
                    await _spoil(request, response, line, trouble)
                    return response
                events += 1
                await response.write(line)
            await response.write_eof()
            return response

    app = web.Application()
    app.router.add_get("/{path:.*}", forward)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1.0)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=tls, limit=0),
        timeout=aiohttp.ClientTimeout(total=None),
    ) as session:
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            host, port = runner.addresses[0][:2]
            ours.url = f"http://{host}:{port}"
            yield ours
        finally:
            await runner.cleanup()


async def _lines(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Events may be longer than the lines that aiohttp reads."""
    rest = b""
    async for chunk in answer.content.iter_any():
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line + b"\n"


async def _spoil(
    request: web.Request, response: web.StreamResponse, line: bytes, trouble: Trouble
) -> None:
    # The client may have gone before.
    with contextlib.suppress(ConnectionError):
        if trouble == "410":
            await response.write(json.dumps(_EXPIRED).encode() + b"\n")
            await response.write_eof()
        elif trouble == "cut":
            await response.write(line[: len(line) // 2])
            assert request.transport is not None
            request.transport.abort()
        else:
            await asyncio.Event().wait()
