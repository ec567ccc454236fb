"""What of its surroundings the way to the API server goes by."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from kubernetes.aio import client

from mmrlhf_operator.errors import UnreachableError
from mmrlhf_operator.kube.transport import ApiTransport, Request


@pytest.fixture
def surroundings(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Without proxies of the machine that runs the tests."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


@asynccontextmanager
async def server(
    handle: Callable[[web.BaseRequest], Awaitable[web.Response]] | None = None,
) -> AsyncIterator[tuple[str, list[tuple[str, str]]]]:
    """One that notes what it is asked for, and with which authorization; or does as it is told."""
    asked: list[tuple[str, str]] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        asked.append((str(request.raw_path), request.headers.get("Authorization", "")))
        return web.json_response({})

    runner = web.ServerRunner(web.Server(handle or answer), shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", asked
    finally:
        await runner.cleanup()


async def ask(host: str) -> int:
    configuration = client.Configuration(host=host)
    configuration.api_key = {"BearerToken": "Bearer token"}
    transport = ApiTransport(configuration)
    try:
        return (await transport.send(Request(method="GET", path="/api"), seconds=30)).status
    finally:
        await transport.close()


async def test_a_netrc_of_the_machine_is_nobodys_business(
    surroundings: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password word\n")
    netrc.chmod(0o600)
    surroundings.setenv("NETRC", str(netrc))
    async with server() as (url, asked):
        assert await ask(url) == 200
    assert asked == [("/api", "Bearer token")]


async def test_a_proxy_of_the_environment_is_used(surroundings: pytest.MonkeyPatch) -> None:
    async with server() as (proxy, asked):
        surroundings.setenv("http_proxy", proxy)
        assert await ask("http://api.example.test:6443") == 200
        assert asked == [("http://api.example.test:6443/api", "Bearer token")]
        async with server() as (url, directly):
            surroundings.setenv("no_proxy", "127.0.0.1")
            assert await ask(url) == 200
        assert directly == [("/api", "Bearer token")]
    assert len(asked) == 1


async def test_what_is_asked_for_arrives_as_it_was_said(
    surroundings: pytest.MonkeyPatch,
) -> None:
    heard: list[tuple[str, dict[str, str], object, str]] = []

    async def hear(request: web.BaseRequest) -> web.Response:
        kind = request.headers["Content-Type"]
        heard.append((request.path, dict(request.query), await request.json(), kind))
        return web.json_response({"kind": "Status"}, status=409, headers={"Retry-After": "3"})

    body = {"name": "ümläut", "none": None, "numbers": [1, 2.5], "deep": {"a/b": True}}
    query = {"fieldSelector": "involvedObject.uid=a,type=Warning", "continue": "a+b/c==&d ü%"}
    async with server(hear) as (url, _):
        configuration = client.Configuration(host=url)
        transport = ApiTransport(configuration)
        asked = Request(
            method="PATCH",
            path="/apis/a/v1/b",
            query=query,
            body=body,
            content_type="application/merge-patch+json",
        )
        answer = await transport.send(asked, seconds=30)
        await transport.close()
    assert heard == [("/apis/a/v1/b", query, body, "application/merge-patch+json")]
    assert (answer.status, answer.body) == (409, b'{"kind": "Status"}')
    assert answer.headers["Retry-After"] == "3"


async def test_a_token_is_renewed_before_a_request(surroundings: pytest.MonkeyPatch) -> None:
    tokens = iter(("first", "second"))

    async def renew(configuration: client.Configuration) -> None:
        configuration.api_key = {"BearerToken": f"Bearer {next(tokens)}"}

    async with server() as (url, asked):
        configuration = client.Configuration(host=url)
        configuration.refresh_api_key_hook = renew
        transport = ApiTransport(configuration)
        for _ in range(2):
            await transport.send(Request(method="GET", path="/api"), seconds=30)
        await transport.close()
    assert asked == [("/api", "Bearer first"), ("/api", "Bearer second")]


async def test_who_does_not_answer_in_time_is_unreachable(
    surroundings: pytest.MonkeyPatch,
) -> None:
    async def hang(_: web.BaseRequest) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with server(hang) as (url, _):
        transport = ApiTransport(client.Configuration(host=url))
        with pytest.raises(UnreachableError, match="GET /api: no answer within 0 s"):
            await transport.send(Request(method="GET", path="/api"), seconds=0.2)
        await transport.close()
