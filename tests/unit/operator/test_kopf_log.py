"""A request that kopf makes again because the server asks for it is no error; all others are."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import kopf
import pytest
from aiohttp import web
from kopf._cogs.clients.api import request
from kopf._cogs.clients.auth import APIContext
from kopf._cogs.clients.errors import APIError
from kopf._cogs.structs.credentials import ConnectionInfo

from mmrlhf_operator.kube.kopf_log import TriedAgain


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What is written of what kopf logs."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    handler.addFilter(TriedAgain())
    logger = logging.getLogger("kopf")
    logger.addHandler(handler)
    yield stream
    logger.removeHandler(handler)


async def ask(*answers: int) -> None:
    """Make a request with kopf's own client to a server that answers as told."""
    left = list(answers)

    async def answer(_: web.Request) -> web.Response:
        status = left.pop(0)
        body = {"kind": "Status", "apiVersion": "v1", "code": status, "message": "not now"}
        return web.json_response(body, status=status)

    app = web.Application()
    app.router.add_get("/apis", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    context = APIContext(ConnectionInfo(server=f"http://127.0.0.1:{port}"))
    settings = kopf.OperatorSettings()
    settings.networking.error_backoffs = [0.01] * (len(answers) - 1)
    logger = logging.getLogger("kopf.test")
    try:
        await request("get", "/apis", settings=settings, context=context, logger=logger)
    finally:
        await context.close()
        await runner.cleanup()


async def test_a_server_that_asks_to_wait_is_no_error(log: io.StringIO) -> None:
    await ask(429, 429, 200)
    told = [line for line in log.getvalue().splitlines() if "will retry" in line]
    assert len(told) == 2
    assert all(line.startswith("INFO ") and "not now" in line for line in told)
    assert "ERROR" not in log.getvalue()


async def test_giving_up_is_an_error(log: io.StringIO) -> None:
    with pytest.raises(APIError):
        await ask(429, 429)
    first, second = [line for line in log.getvalue().splitlines() if "failed" in line]
    assert first.startswith("INFO ")
    assert second.startswith("ERROR ")


@pytest.mark.parametrize("status", [403, 500, 503])
async def test_other_troubles_stay_errors(status: int, log: io.StringIO) -> None:
    await ask(status, 200)
    (line,) = [line for line in log.getvalue().splitlines() if "will retry" in line]
    assert line.startswith("ERROR ")
