"""What the watches never told to be gone is found out, and nothing that is there is lost."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from mmrlhf_operator.errors import UnreachableError
from mmrlhf_operator.kube.api import PAGE, Api
from mmrlhf_operator.kube.transport import Request, Response
from mmrlhf_operator.state.store import Key
from mmrlhf_operator.state.sweep import Sweep
from mmrlhf_operator.state.views import ServiceView
from mmrlhf_operator.state.watches import IndexStore, Pump

ONE, OTHER = Key("MMDPOJob", "default", "one"), Key("MMDPOJob", "default", "other")
AFAR = Key("RewardTrainJob", "afar", "judge")
LIST = {"kind": "PartialObjectMetadataList", "metadata": {}}


def uids(*names: str) -> list[dict[str, Any]]:
    return [{"metadata": {"uid": name}} for name in names]


class Server:
    """Lists objects by path; what no test names has none."""

    def __init__(self, **lists: list[dict[str, Any]] | Response | Exception) -> None:
        self.lists = lists
        self.requests: list[Request] = []
        self.meanwhile: Callable[[], object] = lambda: None

    async def send(self, request: Request, *, seconds: float) -> Response:
        self.requests.append(request)
        self.meanwhile()
        _, namespace, plural = request.path.rsplit("/", 2)
        found = self.lists.get(f"{namespace}_{plural}", [])
        if isinstance(found, Exception):
            raise found
        return found if isinstance(found, Response) else answer({**LIST, "items": found})

    async def close(self) -> None:
        pass


def answer(content: object, status: int = 200) -> Response:
    return Response(status=status, headers={}, body=json.dumps(content).encode())


class World:
    """A store whose indices a test fills, and the sweep that looks after it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.woken: list[Key] = []
        self.services = {key: [service(key)] for key in (ONE, OTHER, AFAR)}
        self.store = IndexStore()
        self.store.attach({"services": self.services})
        self._sweep = Sweep(Api(server), self.store, wake=self.woken.append)

    async def sweep(self) -> list[Key]:
        self.woken.clear()
        await self._sweep.run()
        return sorted(self.woken)

    @property
    def there(self) -> set[Key]:
        return {key for key in self.services if self.store.service(key, "job") is not None}


def service(key: Key) -> ServiceView:
    return ServiceView(name=key.name, uid=f"uid-{key.name}", owner="job")


async def test_what_is_gone_is_forgotten_and_its_job_looked_at_once() -> None:
    world = World(Server(default_services=uids("uid-one"), afar_services=uids("uid-judge")))
    assert await world.sweep() == [OTHER]
    assert world.there == {ONE, AFAR}
    assert await world.sweep() == []
    assert world.there == {ONE, AFAR}


async def test_lists_are_of_metadata_as_it_is_now_and_only_where_something_is_held() -> None:
    world = World(Server(default_services=uids("uid-one", "uid-other")))
    world.services.pop(AFAR)
    await world.sweep()
    assert [request.path for request in world.server.requests] == [
        "/api/v1/namespaces/default/services"
    ]
    (request,) = world.server.requests
    # No version, which would allow an old answer.
    selector = "app.kubernetes.io/managed-by=mmrlhf-operator"
    assert request.query == {"labelSelector": selector, "limit": str(PAGE)}
    assert request.accept.startswith("application/json;as=PartialObjectMetadataList;")


@pytest.mark.parametrize(
    "trouble",
    [
        UnreachableError("away"),
        answer({"kind": "Status", "message": "no"}, status=403),
        Response(status=200, headers={}, body=b"<html>log in first</html>"),
        answer({**LIST, "metadata": {"continue": "more"}, "items": []}),
    ],
    ids=["away", "forbidden", "no-list", "part"],
)
async def test_a_namespace_that_cannot_be_listed_loses_nothing_and_hides_nothing_elsewhere(
    trouble: Response | Exception, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(Server(default_services=uids("uid-one"), afar_services=trouble))
    assert await world.sweep() == [OTHER]
    assert world.there == {ONE, AFAR}
    assert "cannot see which services are gone" in caplog.text
    # Nor does what was found out before come back.
    world.server.lists = {"default_services": trouble, "afar_services": uids("uid-judge")}
    assert await world.sweep() == []
    assert world.there == {ONE, AFAR}


async def test_what_comes_and_what_is_told_to_go_while_it_is_listed() -> None:
    new = Key("MMDPOJob", "default", "new")
    world = World(Server(default_services=uids("uid-one"), afar_services=uids("uid-judge")))

    def meanwhile() -> None:
        world.services[new] = [service(new)]
        world.services.pop(OTHER, None)

    world.server.meanwhile = meanwhile
    assert await world.sweep() == []
    assert world.there == {ONE, AFAR, new}


async def test_nothing_is_kept_in_mind_of_what_the_watches_tell_late() -> None:
    world = World(Server(default_services=uids("uid-one"), afar_services=uids("uid-judge")))
    await world.sweep()
    assert world.store._gone == {"uid-other"}
    world.services.pop(OTHER)
    await world.sweep()
    assert world.store._gone == set()


async def test_what_is_listed_again_is_there_again() -> None:
    world = World(Server(default_services=uids("uid-one"), afar_services=uids("uid-judge")))
    await world.sweep()
    world.server.lists["default_services"] = uids("uid-one", "uid-other")
    await world.sweep()
    assert world.there == {ONE, OTHER, AFAR}


async def test_those_that_name_a_job_are_looked_at_when_it_is_gone() -> None:
    indices: Mapping[str, Any] = {
        "rewardtrainjobs": {AFAR: [{"metadata": {"uid": "uid-judge"}}]},
        "dependents": {AFAR: [ONE]},
    }
    woken: list[Key] = []
    pump = Pump(None, enqueue=woken.append, seconds=1)
    pump.store.attach(indices)
    assert pump.store.keys() == [AFAR]
    await Sweep(Api(Server()), pump.store, wake=pump.wake).run()
    assert woken == [AFAR, ONE]
    assert pump.store.keys() == []
    assert pump.store.job(AFAR) is None
