"""Says whether the process is well, and whether it is ready.

It serves from the start of the process to its end: a replica that waits for the Lease is as well as
the one that leads. What answers proves that the event loop turns; what is wrong beyond that, such
as watches that hear nothing, is the operator's own to find. Who is not well is started anew, which
helps against neither an API server that is away nor a missing right: who meets these is not ready.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from mmrlhf_operator.serving.door import Door, Limits

__all__ = ["HEALTH_PATH", "READY_PATH", "serve_health"]

HEALTH_PATH = "/healthz"
"""Path that liveness probes ask for."""
READY_PATH = "/readyz"
"""Path that readiness probes ask for."""

Probe = Callable[[], str | None]
"""Says what is wrong; None when nothing is."""


@asynccontextmanager
async def serve_health(address: str, *, well: Probe, ready: Probe) -> AsyncIterator[None]:
    """Answer 200 while nothing is wrong and 500 with what is, for the length of a ``with`` block.

    Args:
        address: Host and port to listen at.
        well: Whether the process should go on.
        ready: Whether it could work if it were asked to.
    """

    def answer(*probes: Probe) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(_: web.Request) -> web.Response:
            found = next((problem for probe in probes if (problem := probe()) is not None), None)
            return web.Response(status=200 if found is None else 500, text=found or "ok")

        return handle

    app = web.Application()
    app.router.add_get(HEALTH_PATH, answer(well))
    app.router.add_get(READY_PATH, answer(well, ready))
    async with Door(Limits()).opened(app, address):
        yield
