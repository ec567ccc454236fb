"""What goes over the connection by which kopf lists and watches."""

from __future__ import annotations

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio import client

from mmrlhf_api.constants import API_VERSION
from mmrlhf_operator.state.session import connect

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
