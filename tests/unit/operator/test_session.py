"""What goes over the connection by which kopf lists and watches."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio import client

from mmrlhf_api.constants import API_VERSION
from mmrlhf_operator.state.session import Pause, connect
from mmrlhf_operator.state.watches import Pump
from tests.operator.driver import until

PODS = "/api/v1/namespaces/a/pods"
ITEM = {"metadata": {"name": "a", "managedFields": [{"manager": "kubectl"}]}}


@pytest.mark.parametrize(
    ("path", "content", "told"),
    [
        ("/api/v1/namespaces/a/pods?limit=10", {"apiVersion": "v1", "items": [ITEM]}, ["pods"]),
        (
            f"/apis/{API_VERSION}/mmdpojobs?limit=10&continue=x",
            {"apiVersion": API_VERSION, "items": []},
            ["mmdpojobs"],
        ),
        ("/api/v1/namespaces/a/pods/b", {"apiVersion": "v1", **ITEM}, []),
        ("/api/v1", {"kind": "APIResourceList", "resources": []}, []),
    ],
    ids=["list", "page", "object", "kinds"],
)
async def test_each_list_is_told_by_its_kind(
    path: str, content: dict[str, object], told: list[str]
) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response(content)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    heard: list[str] = []
    async with TestServer(app) as server:
        configuration = client.Configuration()
        configuration.host = str(server.make_url("")).rstrip("/")
        session = await connect(configuration, listed=heard.append)
        async with session.aiohttp_session as http, http.get(server.make_url(path)) as found:
            read = await found.json()
    assert heard == told
    assert all("managedFields" not in item["metadata"] for item in read.get("items", ()))


async def test_each_request_is_told_by_the_verb_of_its_right_and_how_it_went() -> None:
    asked = list[tuple[str, str]]()
    statuses = {"/api/v1": 200, f"{PODS}?limit=10": 403, f"{PODS}?watch=true&limit=10": 500}

    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=statuses[request.path_qs])

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    configuration = client.Configuration()
    async with TestServer(app) as server:
        configuration.host = str(server.make_url("")).rstrip("/")
        session = await connect(
            configuration,
            listed=lambda _: None,
            asked=lambda verb, code, seconds: asked.append((verb, code)),
        )
        for path in statuses:
            async with session.aiohttp_session.get(f"{configuration.host}{path}"):
                pass
    async with session.aiohttp_session as http:
        with pytest.raises(aiohttp.ClientConnectionError):
            await http.get(f"{configuration.host}{PODS}?limit=10")
    expected = [("get", "200"), ("list", "403"), ("watch", "500"), ("list", "unreachable")]
    assert asked == expected


async def test_sessions_that_follow_one_another_are_waited_for() -> None:
    clock, slept = Clock(), list[float]()
    pause = Pause((1.0, 2.0, 4.0, 4.0), quiet=60.0, sleep=clock.sleep(slept), clock=clock)
    for clock.now in (0.0, 0.5, 2.0, 5.0, 64.0, 200.0, 201.0):
        await pause.keep()
    assert slept == [1.0, 2.0, 4.0, 4.0, 1.0]


class Clock:
    """Stands still until a test moves it."""

    now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, slept: list[float]) -> Callable[[float], Awaitable[None]]:
        async def sleep(seconds: float) -> None:
            slept.append(seconds)

        return sleep


async def test_watches_that_are_refused_do_not_ask_without_end() -> None:
    asked = list[str]()

    async def refuse(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.json_response({"kind": "Status", "code": 401}, status=401)

    app = web.Application()
    app.router.add_get("/{path:.*}", refuse)
    async with TestServer(app) as server:
        configuration = client.Configuration(host=str(server.make_url("")).rstrip("/"))
        pump = Pump(configuration, enqueue=lambda _: None, seconds=60, retry=(3600.0, 3600.0))
        task = asyncio.create_task(pump.run())
        seen = [0] * 50

        def settled() -> bool:
            seen.append(len(asked))
            return seen[-1] > 0 and seen[-1] == seen[-50]

        try:
            await until(settled, what=lambda: f"an end of requests: there were {len(asked)}")
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
