"""Serves what the operator measures, to Prometheus.

On a port of its own, so that a NetworkPolicy can say who reads it, while probes go to the port of
`health`. Who reaches it needs no token: it holds no names, see `mmrlhf_operator.metrics`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from mmrlhf_operator.serving.door import Door, Limits

__all__ = ["METRICS_PATH", "serve_metrics"]

METRICS_PATH = "/metrics"
"""Path that Prometheus asks for."""


@asynccontextmanager
async def serve_metrics(address: str, registry: CollectorRegistry) -> AsyncIterator[None]:
    """Answer with the measures of now, for the length of a ``with`` block.

    Args:
        address: Host and port to listen at.
        registry: Where they are.
    """

    async def handle(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(registry), headers={"Content-Type": content_type})

    app = web.Application()
    app.router.add_get(METRICS_PATH, handle)
    async with Door(Limits()).opened(app, address):
        yield
