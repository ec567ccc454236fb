"""A way to the API server that a test lies in wait on, for any client that speaks plain HTTP."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

Forward = Callable[[web.Request, aiohttp.ClientSession], Awaitable[web.StreamResponse]]
"""Answers a request, mostly by what the session to the server gets for it."""


@asynccontextmanager
async def forwarded(tls: ssl.SSLContext, forward: Forward) -> AsyncIterator[str]:
    """Let `forward` answer at the URL that is yielded, for the length of a ``with`` block."""
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=tls, limit=0),
        timeout=aiohttp.ClientTimeout(total=None),
    ) as session:

        async def answer(request: web.Request) -> web.StreamResponse:
            return await forward(request, session)

        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{path:.*}", answer)
        # Watches are cut off when their client has gone.
        runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=1.0
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            host, port = runner.addresses[0][:2]
            yield f"http://{host}:{port}"
        finally:
            await runner.cleanup()


async def begin(request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    """Begin to pass on an answer; what it says comes next."""
    response = web.StreamResponse(status=answer.status)
    response.content_type = answer.content_type
    await response.prepare(request)
    return response
