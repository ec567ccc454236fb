"""Which pod may report progress: the one whose identity the operator was told when it made it."""

from __future__ import annotations

import json

import pytest

from mmrlhf_operator.acting import effects
from mmrlhf_operator.acting.creations import Creations
from mmrlhf_operator.errors import ServerError, UnreachableError
from mmrlhf_operator.kube.api import Api
from mmrlhf_operator.kube.transport import Request, Response
from mmrlhf_operator.planning.actions import Create
from tests.unit.operator.world import START, World, running, world

FIRST = "demo-0-0"


def uid_of(there: World, name: str = FIRST) -> str:
    uid: str = there.pods[name]["metadata"]["uid"]
    return uid


def replace(there: World, name: str = FIRST) -> None:
    """Somebody puts a pod of his own in the place of the operator's."""
    there.pods[name]["metadata"]["uid"] = "stranger"


def test_the_first_pod_of_each_attempt_is_written_down() -> None:
    there = running()
    assert there.status["reporter"] == {"attempt": 0, "uid": uid_of(there)}
    there.finish(FIRST, 137)
    for _ in range(3):
        there.tick(600)
        there.settle()
        there.vanish()
    there.settle()
    assert there.status["reporter"] == {"attempt": 1, "uid": uid_of(there, "demo-1-0")}


def test_a_pod_in_the_place_of_the_operators_is_not_written_down() -> None:
    there = running()
    known = there.status["reporter"]
    replace(there)
    there.settle()
    assert there.status["reporter"] == known
    there.forget()  # nor by an operator that was not there
    there.settle()
    assert there.status["reporter"] == known


def test_a_pod_that_stands_where_the_operator_would_make_one_is_not_written_down() -> None:
    there = world()
    there.reconcile()
    there.pods[FIRST]["metadata"]["uid"] = "stranger"  # it was faster
    del there.made[FIRST]
    there.run()
    there.settle()
    assert there.status["phase"] == "Running"
    assert "reporter" not in there.status


def test_one_that_is_made_again_takes_the_place_of_the_one_that_was_taken_away() -> None:
    there = world()
    there.reconcile()
    there.settle()
    first = uid_of(there)
    assert there.status["reporter"]["uid"] == first
    there.vanish(FIRST)
    there.settle()
    assert uid_of(there) != first
    assert there.status["reporter"] == {"attempt": 0, "uid": uid_of(there)}


def test_what_an_operator_made_before_it_ended_is_recognised_by_the_next() -> None:
    there = world()
    there.reconcile()  # the status, and then the pods
    assert there.pods
    assert "reporter" not in there.status
    there.forget()
    there.run()
    there.settle()
    assert there.status["reporter"] == {"attempt": 0, "uid": uid_of(there)}
    # And so is what an older one made, which wrote down nothing.
    del there.status["reporter"]
    there.settle()
    assert there.status["reporter"] == {"attempt": 0, "uid": uid_of(there)}


class Answering:
    """An API server that answers creations of pods as it is told."""

    def __init__(self, answer: Response | Exception) -> None:
        self._answer = answer

    async def send(self, request: Request, *, seconds: float) -> Response:
        del seconds
        if not request.path.endswith("/pods"):
            return Response(status=201, headers={}, body=b'{"metadata": {"uid": "x"}}')
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer

    async def close(self) -> None:
        pass


def answer(status: int, **body: object) -> Response:
    return Response(status=status, headers={}, body=json.dumps(body).encode())


@pytest.mark.parametrize(
    ("said", "uids", "unsure"),
    [
        (answer(201, metadata={"uid": "u"}), {FIRST: "u"}, set()),
        (answer(403, message="exceeded quota"), {}, set()),
        (answer(500, message="etcd is away"), {}, {FIRST}),
        (UnreachableError("no answer"), {}, {FIRST}),
    ],
    ids=["made", "refused", "failed", "lost"],
)
async def test_what_the_api_server_said_of_a_pod_is_remembered(
    said: Response | Exception, uids: dict[str, str], unsure: set[str]
) -> None:
    there = world(resources__nodes=1)
    creations = [action for action in there.plan().actions if isinstance(action, Create)]
    memory = Creations()
    try:
        await effects.act(Api(Answering(said)), there.job, creations, told=memory.told)
    except (ServerError, UnreachableError):
        assert unsure
    assert (memory.uids, memory.unsure) == (uids, unsure)
    memory.told(FIRST, "later")
    assert (memory.uids, memory.unsure) == ({FIRST: "later"}, set())
    memory.note("uid", [c.manifest for c in creations], (), now=START)
    assert memory.uids == {FIRST: "later"}
    other = {"kind": "Pod", "metadata": {"name": "demo-1-0"}}
    memory.note("uid", [other], (), now=START)
    assert memory.uids == {}, "of an attempt that is over"
