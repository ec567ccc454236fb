"""What of its surroundings the way to the API server goes by."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from kubernetes.aio import client

from mmrlhf_operator.kube.transport import ApiTransport, Request


@pytest.fixture
def surroundings(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Without proxies of the machine that runs the tests."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


@asynccontextmanager
async def server() -> AsyncIterator[tuple[str, list[tuple[str, str]]]]:
    """One that notes what it is asked for, and with which authorization."""
    asked: list[tuple[str, str]] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        asked.append((str(request.raw_path), request.headers.get("Authorization", "")))
        return web.json_response({})

    runner = web.ServerRunner(web.Server(answer))
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
