"""Servers that answer without end, in a bomb, or with the address of another."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from mmrlhf_api.model_servers import EndpointSettings
from mmrlhf_jobs.endpoints import transport
from mmrlhf_jobs.endpoints.transport import AttemptFailedError, Transport
from mmrlhf_jobs.errors import EndpointError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
MOST = 1 << 20


@pytest.fixture(autouse=True)
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "MAX_ANSWER_BYTES", MOST)


def always(make: Callable[[], web.Response]) -> Handler:
    async def handler(_: web.Request) -> web.StreamResponse:
        return make()

    return handler


@asynccontextmanager
async def served(handler: Handler) -> AsyncIterator[tuple[Transport, list[str]]]:
    """A client of a server on loopback, and what it was asked for."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(f"{request.method} {request.path}")
        return await handler(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    try:
        async with aiohttp.ClientSession() as session:
            settings = EndpointSettings(name="m", base_url=url, model="m")
            yield Transport(settings, session), asked
    finally:
        await runner.cleanup()


def completion(text: str) -> bytes:
    return json.dumps({"choices": [{"message": {"content": text}}]}).encode()


async def test_an_answer_of_some_size_is_read() -> None:
    async with served(always(lambda: web.Response(body=completion("x" * (MOST // 2))))) as (
        client,
        _,
    ):
        answer = await client.send({}, request_id="r")
    assert answer.text == "x" * (MOST // 2)


@pytest.mark.parametrize("status", [200, 400, 500])
async def test_an_answer_without_end_is_given_up(status: int) -> None:
    sent = 0

    async def pour(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse(status=status)
        await response.prepare(request)
        for _ in range(1024):
            await response.write(b" " * MOST)
            sent += MOST
        return response

    async with served(pour) as (client, _):
        with pytest.raises(AttemptFailedError, match="more than 1 MiB") as caught:
            await client.send({}, request_id="r")
    assert caught.value.fault == "garbage"
    assert sent < 64 * MOST, "it was read to its end"


async def test_a_small_answer_that_unpacks_to_a_large_one_is_given_up() -> None:
    packed = gzip.compress(completion(" " * (64 * MOST)))
    assert len(packed) < MOST // 8
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    async with served(always(lambda: web.Response(body=packed, headers=headers))) as (client, _):
        with pytest.raises(AttemptFailedError, match="more than 1 MiB"):
            await client.send({}, request_id="r")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    ("place", "shown"),
    [
        ("http://169.254.169.254/latest/meta-data/iam", "http://169.254.169.254"),
        ("https://user:pass@elsewhere.example/?token=t", "https://elsewhere.example"),
        ("/v1/other", "another path"),
        ("//elsewhere.example/", "another path"),
    ],
)
async def test_no_server_sends_the_client_elsewhere(status: int, place: str, shown: str) -> None:
    headers: Mapping[str, str] = {"Location": place}
    async with served(always(lambda: web.Response(status=status, headers=headers))) as (
        client,
        asked,
    ):
        with pytest.raises(EndpointError, match="set baseUrl") as caught:
            await client.send({}, request_id="r")
    assert f"redirects to {shown}, which" in str(caught.value)
    assert asked == ["POST /v1/chat/completions"]
