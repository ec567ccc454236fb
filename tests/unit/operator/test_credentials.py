"""Tokens of a kubeconfig that are good for a while, against a server that takes one at a time."""

from __future__ import annotations

import asyncio
import json
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from kubernetes.aio import client

from mmrlhf_operator.errors import ConfigError
from mmrlhf_operator.kube.credentials import Kubeconfig, Renewal
from mmrlhf_operator.kube.transport import ApiTransport, Request, load_configuration
from mmrlhf_operator.state.session import connect
from tests.operator.driver import until

LONG_AGO, FAR_AWAY = "2001-01-01T00:00:00Z", "2999-01-01T00:00:00Z"
API_VERSION = "client.authentication.k8s.io/v1"
PLUGIN = """#!{python}
import json, os, pathlib, sys
here = pathlib.Path(__file__).parent
with (here / "asked").open("a") as asked:
    asked.write(f"{{os.getpid()}}\\n")
if (here / "broken").exists():
    sys.exit("no luck")
if (here / "slow").exists():
    import time
    time.sleep(600)
print((here / "answer").read_text())
"""


@dataclass
class Server:
    """Takes one token; keeps what was asked."""

    good: str = "first"
    url: str = ""
    asked: list[tuple[str, str, bytes, int]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        status = 200 if request.headers.get("Authorization") == f"Bearer {self.good}" else 401
        self.asked.append((request.method, request.path, await request.read(), status))
        return web.json_response({}, status=status)

    def statuses(self) -> list[int]:
        return [status for *_, status in self.asked]


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield server
    finally:
        await runner.cleanup()


class Clock:
    """Stands still until a test moves it."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Plugin:
    """A credential plugin, which answers what a test says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program = folder / "plugin"
        self.program.write_text(PLUGIN.format(python=sys.executable))
        self.program.chmod(stat.S_IRWXU)

    def give(self, token: str, expires: str | None = None) -> None:
        status = {"token": token} | ({"expirationTimestamp": expires} if expires else {})
        body = {"apiVersion": API_VERSION, "kind": "ExecCredential", "status": status}
        (self.folder / "answer").write_text(json.dumps(body))

    def user(self) -> dict[str, Any]:
        how = {"apiVersion": API_VERSION, "command": str(self.program), "interactiveMode": "Never"}
        return {"exec": how}

    def processes(self) -> list[int]:
        return [int(line) for line in (self.folder / "asked").read_text().split()]

    @property
    def asked(self) -> int:
        return len(self.processes())


@pytest.fixture
def plugin(tmp_path: Path) -> Plugin:
    made = Plugin(tmp_path)
    made.give("first")
    return made


def kubeconfig(folder: Path, url: str, user: dict[str, Any]) -> Path:
    path = folder / "kubeconfig"
    content = {
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.write_text(yaml.safe_dump(content))
    return path


async def by_clock(path: Path, clock: Clock, **limits: float) -> client.Configuration:
    """As the operator reads it, but for the clock."""
    configuration = client.Configuration()
    source = await Kubeconfig.read(path, configuration)
    configuration.refresh_api_key_hook = Renewal(source, clock=clock, **limits)
    return configuration


@asynccontextmanager
async def transport(configuration: client.Configuration) -> AsyncIterator[ApiTransport]:
    made = ApiTransport(configuration)
    try:
        yield made
    finally:
        await made.close()


async def ask(by: ApiTransport, method: str = "GET", body: object = None) -> int:
    request = Request(method=method, path="/api", body=body)
    return (await by.send(request, seconds=60)).status


@pytest.mark.parametrize("way", ["tokenFile", "exec"])
async def test_a_refused_token_is_replaced_for_requests_and_for_watches(
    way: str, server: Server, plugin: Plugin, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text("first\n")
    user = {"tokenFile": str(file)} if way == "tokenFile" else plugin.user()
    configuration = await load_configuration(kubeconfig(tmp_path, server.url, user))
    session = await connect(configuration, listed=lambda _: None)
    async with transport(configuration) as ours, session.aiohttp_session as kopfs:
        assert await ask(ours) == 200
        server.good = "second"
        file.write_text("second\n")
        plugin.give("second")
        assert await ask(ours, "POST", {"of": "ours"}) == 200
        server.asked.clear()
        async with kopfs.get(f"{server.url}/api") as answer:
            assert answer.status == 200
        assert server.statuses() == [200], "one that was replaced is replaced for all"
    assert plugin.asked == 2 if way == "exec" else not (tmp_path / "asked").exists()


async def test_watches_replace_a_refused_token_by_themselves(
    server: Server, plugin: Plugin, tmp_path: Path
) -> None:
    configuration = await load_configuration(kubeconfig(tmp_path, server.url, plugin.user()))
    session = await connect(configuration, listed=lambda _: None)
    server.good = "second"
    plugin.give("second")
    async with (
        session.aiohttp_session as kopfs,
        kopfs.get(f"{server.url}/api?watch=true") as answer,
    ):
        assert answer.status == 200
    assert server.statuses() == [401, 200]


async def test_a_write_that_was_refused_is_sent_again_as_it_was(
    server: Server, plugin: Plugin, tmp_path: Path
) -> None:
    configuration = await load_configuration(kubeconfig(tmp_path, server.url, plugin.user()))
    server.good = "second"
    plugin.give("second")
    async with transport(configuration) as ours:
        assert await ask(ours, "POST", {"a": 1}) == 200
    assert server.asked == [("POST", "/api", b'{"a": 1}', status) for status in (401, 200)]


async def test_a_file_is_read_again_each_minute(server: Server, tmp_path: Path) -> None:
    file, clock = tmp_path / "token", Clock()
    file.write_text("first")
    path = kubeconfig(tmp_path, server.url, {"tokenFile": "token"})
    async with transport(await by_clock(path, clock)) as ours:
        file.write_text("second")
        clock.now = 59.0
        assert await ask(ours) == 200
        server.good = "second"
        clock.now = 60.0
        assert await ask(ours) == 200
        file.unlink()  # as for a moment it is, or stays empty, where it is written in place
        clock.now = 120.0
        assert await ask(ours) == 200
        file.write_text("")
        clock.now = 180.0
        assert await ask(ours) == 200
    assert server.statuses() == [200] * 4


@pytest.mark.parametrize(("expires", "times"), [(None, 1), (FAR_AWAY, 1), (LONG_AGO, 2)], ids=str)
async def test_a_plugin_is_asked_again_once_its_token_has_expired(
    expires: str | None, times: int, server: Server, plugin: Plugin, tmp_path: Path
) -> None:
    clock = Clock()
    plugin.give("first", expires)
    path = kubeconfig(tmp_path, server.url, plugin.user())
    async with transport(await by_clock(path, clock)) as ours:
        for clock.now in (1.0, 59.0, 61.0, 62.0):
            assert await ask(ours) == 200
    assert plugin.asked == times
    assert server.statuses() == [200] * 4


async def test_who_is_refused_for_long_does_not_start_processes_for_each_request(
    server: Server, plugin: Plugin, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    path = kubeconfig(tmp_path, server.url, plugin.user())
    async with transport(await by_clock(path, clock)) as ours:
        server.good = "another"
        assert {await ask(ours) for _ in range(5)} == {401}
        assert plugin.asked == 2
        assert "the API server takes the credentials no more (401); no others" in caplog.text
        clock.now = 11.0
        assert await asyncio.gather(*(ask(ours) for _ in range(5))) == [401] * 5
        assert plugin.asked == 3
        plugin.give("another")
        clock.now = 22.0
        assert await asyncio.gather(*(ask(ours) for _ in range(5))) == [200] * 5
        assert plugin.asked == 4


async def test_a_plugin_that_gives_nothing_at_first_is_told(
    server: Server, plugin: Plugin, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "broken").touch()
    with pytest.raises(ConfigError, match="credential plugin of the kubeconfig"):
        await load_configuration(kubeconfig(tmp_path, server.url, plugin.user()))
    assert "no luck" in caplog.text


async def test_a_plugin_that_fails_later_leaves_what_there_is(
    server: Server, plugin: Plugin, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    plugin.give("first", LONG_AGO)
    path = kubeconfig(tmp_path, server.url, plugin.user())
    async with transport(await by_clock(path, clock)) as ours:
        (tmp_path / "broken").touch()
        clock.now = 61.0
        assert await ask(ours) == 200
    assert plugin.asked == 2
    assert "no luck" in caplog.text


async def test_a_plugin_that_hangs_is_ended(
    server: Server, plugin: Plugin, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    plugin.give("first", LONG_AGO)
    path = kubeconfig(tmp_path, server.url, plugin.user())
    async with transport(await by_clock(path, clock, longest=2.0)) as ours:
        (tmp_path / "slow").touch()
        clock.now = 61.0
        assert await ask(ours) == 200
    assert "gave no answer within 2 s" in caplog.text
    process = Path("/proc", str(plugin.processes()[-1]))
    assert plugin.asked == 2
    await until(lambda: not process.exists(), what="the end of the plugin")
