"""Certificates that are replaced while the operator runs, against a server that asks for them."""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from kubernetes.aio import client

from mmrlhf_operator.errors import UnreachableError
from mmrlhf_operator.kube.transport import ApiTransport, Request
from mmrlhf_operator.state.session import connect
from tests.cluster.certificates import Authority, Pair
from tests.operator.driver import until


class Files:
    """Where the operator finds its certificate, its key and the authority of the server."""

    def __init__(self, folder: Path, authority: Authority) -> None:
        self._authority = authority
        self.certificate, self.key, self.ca = (
            folder / name for name in ("tls.crt", "tls.key", "ca.crt")
        )
        replace(self.ca, authority.pair.certificate)
        self.become("before")

    def become(self, user: str) -> None:
        pair = self._authority.client(user, user=user)
        replace(self.certificate, pair.certificate)
        replace(self.key, pair.key)

    def configuration(self, url: str) -> client.Configuration:
        found = client.Configuration(host=url, ssl_ca_cert=str(self.ca))
        found.cert_file, found.key_file = str(self.certificate), str(self.key)
        return found


def replace(path: Path, content: Path) -> None:
    """As who writes certificates does: the whole file at once."""
    fresh = path.with_suffix(".new")
    fresh.write_bytes(content.read_bytes())
    os.replace(fresh, path)  # noqa: PTH105 - the point of it


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return make(tmp_path / "authority")


@pytest.fixture
def files(tmp_path: Path, authority: Authority) -> Files:
    return Files(tmp_path, authority)


def make(folder: Path) -> Authority:
    folder.mkdir()
    made = Authority(folder)
    made.create()
    return made


class Held:
    """A request that is answered when a test says so."""

    def __init__(self) -> None:
        self.reached, self.over = asyncio.Event(), asyncio.Event()


@asynccontextmanager
async def server(
    authority: Authority, held: Held | None = None
) -> AsyncIterator[tuple[str, Callable[[], set[str]]]]:
    """Answers with whom it speaks; ``/held`` once it is over. Yields its URL, and who is there."""
    pair: Pair = authority.server("api", names=["localhost"], addresses=["127.0.0.1"])
    tls = ssl.create_default_context(
        ssl.Purpose.CLIENT_AUTH, cafile=str(authority.pair.certificate)
    )
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_cert_chain(pair.certificate, pair.key)

    def user(transport: asyncio.BaseTransport) -> str:
        ((((_, name),),),) = (transport.get_extra_info("peercert")["subject"],)
        return str(name)

    async def answer(request: web.BaseRequest) -> web.Response:
        if request.path == "/held" and held is not None:
            held.reached.set()
            await held.over.wait()
        assert request.transport is not None
        return web.json_response({"user": user(request.transport)})

    handler = web.Server(answer)
    runner = web.ServerRunner(handler)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        yield (
            f"https://127.0.0.1:{runner.addresses[0][1]}",
            lambda: {user(one.transport) for one in handler.connections if one.transport},
        )
    finally:
        await runner.cleanup()


async def ask(transport: ApiTransport, path: str = "/api") -> str:
    answer = await transport.send(Request(method="GET", path=path), seconds=60)
    return answer.body.decode()


async def test_requests_go_with_the_certificate_that_is_there(
    authority: Authority, files: Files
) -> None:
    held = Held()
    async with server(authority, held) as (url, there):
        transport = ApiTransport(files.configuration(url))
        try:
            assert await ask(transport) == '{"user": "before"}'
            under_way = asyncio.create_task(ask(transport, "/held"))
            await held.reached.wait()
            files.become("after")
            assert await ask(transport) == '{"user": "after"}'
            held.over.set()
            assert await under_way == '{"user": "before"}', "it is not cut off"
            await until(lambda: there() == {"after"}, what=lambda: f"no {there()}")
        finally:
            await transport.close()


async def test_half_a_pair_is_left_until_the_other_half_is_there(
    authority: Authority, files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    after = authority.client("after", user="after")
    async with server(authority) as (url, _):
        transport = ApiTransport(files.configuration(url))
        try:
            replace(files.certificate, after.certificate)
            for _ in range(3):
                assert await ask(transport) == '{"user": "before"}'
            (told,) = [one for one in caplog.records if one.levelno == logging.WARNING]
            assert "certificates were replaced and cannot be used" in told.getMessage()
            replace(files.key, after.key)
            assert await ask(transport) == '{"user": "after"}'
        finally:
            await transport.close()


async def test_a_file_that_is_away_for_a_moment_is_no_change(
    authority: Authority, files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    async with server(authority) as (url, _):
        transport = ApiTransport(files.configuration(url))
        try:
            files.certificate.unlink()
            assert await ask(transport) == '{"user": "before"}'
            assert not [one for one in caplog.records if one.levelno == logging.WARNING]
            files.become("after")
            assert await ask(transport) == '{"user": "after"}'
        finally:
            await transport.close()


async def test_a_server_of_another_authority_is_known_once_the_file_says_so(
    files: Files, tmp_path: Path
) -> None:
    other = make(tmp_path / "other")
    async with server(other) as (url, _):
        session = await connect(files.configuration(url), listed=lambda _: None)
        transport = ApiTransport(files.configuration(url))
        try:
            with pytest.raises(UnreachableError, match="certificate verify failed"):
                await ask(transport)
            with pytest.raises(aiohttp.ClientConnectorError, match="certificate verify failed"):
                await session.aiohttp_session.get(f"{url}/api")
            pair = other.client("after", user="after")
            for path, content in [
                (files.ca, other.pair.certificate),
                (files.certificate, pair.certificate),
                (files.key, pair.key),
            ]:
                replace(path, content)
            assert await ask(transport) == '{"user": "after"}'
            async with session.aiohttp_session.get(f"{url}/api") as answer:
                assert await answer.json() == {"user": "after"}
        finally:
            await session.aiohttp_session.close()
            await transport.close()


async def test_an_authority_that_was_replaced_is_trusted_no_more(
    authority: Authority, files: Files, tmp_path: Path
) -> None:
    other = make(tmp_path / "other")
    async with server(authority) as (url, _):
        session = await connect(files.configuration(url), listed=lambda _: None)
        transport = ApiTransport(files.configuration(url))
        try:
            assert await ask(transport) == '{"user": "before"}'
            async with session.aiohttp_session.get(f"{url}/api") as answer:
                assert answer.status == 200
            replace(files.ca, other.pair.certificate)
            with pytest.raises(UnreachableError, match="certificate verify failed"):
                await ask(transport)
            with pytest.raises(aiohttp.ClientConnectorError, match="certificate verify failed"):
                await session.aiohttp_session.get(f"{url}/api")
        finally:
            await session.aiohttp_session.close()
            await transport.close()


async def test_watches_go_with_the_certificate_that_is_there(
    authority: Authority, files: Files
) -> None:
    async with server(authority) as (url, _):
        session = await connect(files.configuration(url), listed=lambda _: None)
        users = list[str]()
        async with session.aiohttp_session as http:
            for user in ("before", "after"):
                files.become(user)
                async with http.get(f"{url}/api", headers={"Connection": "close"}) as answer:
                    users.append((await answer.json())["user"])
    assert users == ["before", "after"]
