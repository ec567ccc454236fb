"""What is sent when a plan is carried out, and what is not sent any more."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from mmrlhf_operator.acting import effects
from mmrlhf_operator.kube.api import Api
from mmrlhf_operator.kube.transport import Request, Response
from mmrlhf_operator.planning.actions import Create, Note
from tests.unit.operator.world import World, world


class Quota:
    """An API server that has room for some pods."""

    def __init__(self, pods: int) -> None:
        self.left = pods
        self.asked: list[Request] = []

    async def send(self, request: Request, *, seconds: float) -> Response:
        del seconds
        self.asked.append(request)
        if request.path.endswith("/pods"):
            self.left -= 1
            if self.left < 0:
                return self._answer(403, {"message": "exceeded quota: small", "code": 403})
        return self._answer(201, request.body if isinstance(request.body, Mapping) else {})

    async def close(self) -> None:
        pass

    def _answer(self, status: int, body: Mapping[str, object]) -> Response:
        return Response(status=status, headers={}, body=json.dumps(body).encode())

    @property
    def pods(self) -> int:
        return sum(request.path.endswith("/pods") for request in self.asked)


def gang(nodes: int) -> tuple[World, list[Create]]:
    there = world(resources__nodes=nodes)
    creations = [action for action in there.plan().actions if isinstance(action, Create)]
    return there, creations


async def test_the_first_refusal_stops_the_rest_of_a_gang() -> None:
    there, creations = gang(200)
    server = Quota(20)
    found = await effects.act(Api(server), there.job, creations)
    assert [finding.reason for finding in found] == ["CreationRefused"]
    assert "exceeded quota: small" in found[0].message
    assert 20 < server.pods < 60  # some were on their way


async def test_a_gang_that_fits_is_made_whole() -> None:
    there, creations = gang(40)
    server = Quota(40)
    assert await effects.act(Api(server), there.job, creations) == ()
    assert server.pods == 40


class NoEvents(Quota):
    """An API server that takes no events."""

    def __init__(self, status: int) -> None:
        super().__init__(0)
        self.status = status

    async def send(self, request: Request, *, seconds: float) -> Response:
        del seconds, request
        return self._answer(self.status, {"message": "no events here", "code": self.status})


@pytest.mark.parametrize("status", [403, 404, 422])
async def test_an_event_that_is_refused_is_dropped_and_told(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    there, _ = gang(1)
    note = Note(type="Normal", reason="Started", message="it runs", key="k", at=there.now)
    await effects.emit(Api(NoEvents(status)), there.job, note)
    (line,) = (record.getMessage() for record in caplog.records)
    assert "the event Started of MMDPOJob" in line
    assert "no events here" in line
