"""What the watches never told to be gone is found out, and nothing that is there is lost."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from mmrlhf_operator.errors import UnreachableError
from mmrlhf_operator.kube.api import PAGE, Api
from mmrlhf_operator.kube.transport import Request, Response
from mmrlhf_operator.state import sweep
from mmrlhf_operator.state.store import Key
from mmrlhf_operator.state.sweep import Sweep
from mmrlhf_operator.state.views import ServiceView
from mmrlhf_operator.state.watches import IndexStore, Place, Pump

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
    """A store whose index a test fills, and the sweep that looks after it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.woken: list[Key] = []
        self.services = {at(key): [service(key)] for key in (ONE, OTHER, AFAR)}
        self.store = IndexStore()
        self.store.attach(self.services)
        self._sweep = Sweep(Api(server), self.store, wake=self.woken.append)

    async def sweep(self) -> list[Key]:
        self.woken.clear()
        await self._sweep.run()
        return sorted(self.woken)

    @property
    def there(self) -> set[Key]:
        keys = (key for _, key in self.services)
        return {key for key in keys if self.store.service(key, "job") is not None}


def at(key: Key) -> Place:
    """Where the index has the Service of a job."""
    return "services", key


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
    world.services.pop(at(AFAR))
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
        world.services[at(new)] = [service(new)]
        world.services.pop(at(OTHER), None)

    world.server.meanwhile = meanwhile
    assert await world.sweep() == []
    assert world.there == {ONE, AFAR, new}


async def test_nothing_is_kept_in_mind_of_what_the_watches_tell_late() -> None:
    world = World(Server(default_services=uids("uid-one"), afar_services=uids("uid-judge")))
    await world.sweep()
    assert world.store._gone == {"uid-other"}
    world.services.pop(at(OTHER))
    await world.sweep()
    assert world.store._gone == set()


async def test_what_is_listed_again_is_there_again() -> None:
    world = World(Server(default_services=uids("uid-one"), afar_services=uids("uid-judge")))
    await world.sweep()
    world.server.lists["default_services"] = uids("uid-one", "uid-other")
    await world.sweep()
    assert world.there == {ONE, OTHER, AFAR}


@pytest.fixture
def ten_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """So few are compared in a round on average."""
    monkeypatch.setattr(sweep, "_OBJECTS_A_ROUND", 10)


def many(number: int) -> dict[Place, list[ServiceView]]:
    keys = [Key("MMDPOJob", "default", f"job-{index}") for index in range(number)]
    return {at(key): [service(key)] for key in keys}


@pytest.mark.usefixtures("ten_a_round")
async def test_what_is_listed_while_no_watch_breaks_does_not_grow_with_what_there_is() -> None:
    listed = []
    for number in (20, 60):
        world = World(Server())
        world.services.clear()
        world.services |= many(number)
        there = uids(*(f"uid-{key.name}" for _, key in world.services))
        world.server.lists["default_services"] = there
        for _ in range(24):
            assert await world.sweep() == []
        listed.append(len(world.server.requests) * number)
    assert listed == [240, 240]


@pytest.mark.usefixtures("ten_a_round")
async def test_a_kind_is_compared_in_two_rounds_after_it_was_listed_anew() -> None:
    world = World(Server(default_services=uids("uid-one"), afar_services=uids("uid-judge")))
    world.services |= many(50)
    here = uids(*(f"uid-{key.name}" for _, key in world.services))
    world.server.lists["default_services"] = here
    await world.sweep()
    # A watch breaks, and nobody is told of two deletions. The event by which one of them came was
    # on its way to the indices when the first round began.
    gone, late = Key("MMDPOJob", "default", "job-7"), Key("MMDPOJob", "default", "late")
    lack = [one for one in here if one != {"metadata": {"uid": "uid-job-7"}}]
    world.server.lists["default_services"] = lack
    assert await world.sweep() == []
    world.store.note_list("services")
    assert await world.sweep() == [gone]
    world.services[at(late)] = [service(late)]
    assert await world.sweep() == [late]
    assert not {gone, late} & world.there
    # Then they are trusted again.
    requests = len(world.server.requests)
    assert await world.sweep() == []
    assert len(world.server.requests) == requests


@pytest.mark.usefixtures("ten_a_round")
async def test_what_could_not_be_listed_is_doubted_until_it_can() -> None:
    world = World(Server(afar_services=uids("uid-judge")))
    world.services |= many(50)
    here = uids(*(f"uid-{key.name}" for _, key in world.services))
    world.server.lists["default_services"] = here
    await world.sweep()
    world.server.lists["default_services"] = UnreachableError("away")
    world.store.note_list("services")
    for _ in range(3):
        assert await world.sweep() == []
    world.server.lists["default_services"] = here[1:]
    assert await world.sweep() == [ONE]


@pytest.mark.usefixtures("ten_a_round")
async def test_what_is_missed_otherwise_is_found_in_time() -> None:
    world = World(Server(afar_services=uids("uid-judge")))
    world.services |= many(50)
    here = uids(*(f"uid-{key.name}" for _, key in world.services))
    world.server.lists["default_services"] = here
    await world.sweep()
    world.server.lists["default_services"] = here[1:]
    found = [await world.sweep() for _ in range(6)]
    assert found == [[], [], [], [], [], [ONE]]


async def test_those_that_name_a_job_are_looked_at_when_it_is_gone() -> None:
    index: Mapping[Place, Any] = {
        ("rewardtrainjobs", AFAR): [{"metadata": {"uid": "uid-judge"}}],
        ("dependents", AFAR): [ONE],
    }
    woken: list[Key] = []
    pump = Pump(None, enqueue=woken.append, seconds=1)
    pump.store.attach(index)
    assert pump.store.keys() == [AFAR]
    await Sweep(Api(Server()), pump.store, wake=pump.wake).run()
    assert woken == [AFAR, ONE]
    assert pump.store.keys() == []
    assert pump.store.job(AFAR) is None
