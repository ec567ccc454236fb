"""Lists come in pages, of metadata, and all of them or none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mmrlhf_operator.errors import ServerError, UnreachableError
from mmrlhf_operator.kube.api import PAGE, Api
from mmrlhf_operator.kube.transport import Request, Response
from mmrlhf_operator.state.store import Key
from mmrlhf_operator.state.watchdog import Watchdog

PATH = "/apis/mmrlhf.io/v1alpha1/namespaces/default/mmdpojobs"


class Server:
    """Has some objects, and gives them out page by page."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.requests: list[Request] = []
        self.expire_at: list[int] = []

    async def send(self, request: Request, *, seconds: float) -> Response:
        self.requests.append(request)
        start = int(request.query.get("continue", "0"))
        if self.expire_at and self.expire_at[0] == start:
            self.expire_at.pop(0)
            return answer({"kind": "Status", "reason": "Expired", "message": "too old"}, 410)
        stop = start + int(request.query["limit"])
        more = {"continue": str(stop)} if stop < self.count else {}
        numbers = range(start, min(stop, self.count))
        items = [{"metadata": metadata(number)} for number in numbers]
        return answer({"kind": "PartialObjectMetadataList", "metadata": more, "items": items})

    async def close(self) -> None:
        pass


def metadata(number: int) -> dict[str, Any]:
    return {
        "uid": f"uid-{number}",
        "name": f"job-{number}",
        "namespace": "default",
        "resourceVersion": f"{number}",
        "annotations": {"a": "x" * 100},
        "managedFields": [{"manager": "x" * 100}],
    }


def answer(content: object, code: int = 200) -> Response:
    return Response(status=code, headers={}, body=json.dumps(content).encode())


@pytest.mark.parametrize("count", [0, 1, PAGE, PAGE + 1, 3 * PAGE, 3 * PAGE + 7])
async def test_all_pages_are_read_and_nothing_but_what_is_asked_for_is_kept(count: int) -> None:
    server = Server(count)
    found = await Api(server).all_metadata(PATH, ("uid",), labelSelector="a=b")
    assert found == [{"uid": f"uid-{number}"} for number in range(count)]
    assert len(server.requests) == max(1, -(-count // PAGE))
    for request in server.requests:
        assert request.query["limit"] == str(PAGE)
        assert request.query["labelSelector"] == "a=b"
        assert "resourceVersion" not in request.query
        assert request.accept.startswith("application/json;as=PartialObjectMetadataList;")


async def test_a_list_that_took_too_long_is_begun_anew_once() -> None:
    server = Server(3 * PAGE)
    server.expire_at = [PAGE]
    assert len(await Api(server).uids(PATH)) == 3 * PAGE
    starts = [request.query.get("continue") for request in server.requests]
    assert starts == [None, str(PAGE), None, str(PAGE), str(2 * PAGE)]
    server.expire_at = [PAGE, PAGE]
    with pytest.raises(ServerError) as caught:
        await Api(server).uids(PATH)
    assert caught.value.is_expired


async def test_a_server_that_turns_in_a_circle_is_no_list() -> None:
    class Circle(Server):
        async def send(self, request: Request, *, seconds: float) -> Response:
            self.requests.append(request)
            return answer({"kind": "List", "metadata": {"continue": "more"}, "items": []})

    with pytest.raises(UnreachableError, match="not the whole list"):
        await Api(Circle(0)).uids(PATH)


async def test_the_watchdog_reads_versions_alone() -> None:
    class Seen:
        def keys(self) -> list[Key]:
            return [Key("MMDPOJob", "default", f"job-{number}") for number in range(3 * PAGE)]

        def job(self, key: Key) -> dict[str, Any]:
            return {"metadata": {"resourceVersion": key.name.removeprefix("job-")}}

    server = Server(3 * PAGE)

    class Other(Server):
        async def send(self, request: Request, *, seconds: float) -> Response:
            if "/mmdpojobs" not in request.path:
                return answer({"kind": "List", "metadata": {}, "items": []})
            return await server.send(request, seconds=seconds)

    watchdog = Watchdog(Api(Other(0)), namespaces=("default",))
    for _ in range(3):
        await watchdog.look(Seen())
        assert watchdog.problem() is None
    assert len(server.requests) == 9
    assert all("PartialObjectMetadataList" in request.accept for request in server.requests)
