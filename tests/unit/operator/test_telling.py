"""Events that tell what statuses say: each once, whichever operator comes, at few requests."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mmrlhf_api import KINDS, Kind
from mmrlhf_operator.acting.earlier_events import EarlierEvents
from mmrlhf_operator.acting.effects import event_name
from mmrlhf_operator.acting.telling import Told
from mmrlhf_operator.errors import ServerError
from mmrlhf_operator.kube.api import Api
from mmrlhf_operator.kube.transport import Request, Response
from mmrlhf_operator.planning.actions import Note

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


class Server:
    """Has events, which it finds by their name or by who told them, and by nothing else."""

    def __init__(self) -> None:
        self.events: set[str] = set()
        self.asked: Counter[str] = Counter()
        self.loses: set[str] = set()
        self.refuses = False

    async def send(self, request: Request, *, seconds: float) -> Response:
        assert request.path == "/api/v1/namespaces/a/events"
        if request.method == "POST":
            return self._create(request.body["metadata"]["name"])
        field, _, value = request.query["fieldSelector"].partition("=")
        self.asked[field] += 1
        await asyncio.sleep(0)  # others ask meanwhile
        if self.refuses:
            return _answer(403, {"message": "events is forbidden"})
        if field == "source":
            assert value == "mmrlhf-operator"
        found = {name for name in self.events if field == "source" or name == value}
        items = [{"metadata": {"name": name}} for name in sorted(found)]
        return _answer(200, {"kind": "EventList", "metadata": {}, "items": items})

    def _create(self, name: str) -> Response:
        self.asked["POST"] += 1
        if name in self.events:
            return _answer(409, {"reason": "AlreadyExists"})
        self.events.add(name)
        if name in self.loses:
            self.loses.discard(name)
            return _answer(500, {"message": "the answer is lost"})
        return _answer(201, {"metadata": {"name": name}})

    async def close(self) -> None:
        pass


def _answer(status: int, content: dict[str, Any]) -> Response:
    return Response(status=status, headers={}, body=json.dumps(content).encode())


@dataclass(frozen=True)
class Job:
    name: str
    kind: Kind = KINDS["MMDPOJob"]
    namespace: str = "a"

    @property
    def uid(self) -> str:
        return f"uid-{self.name}"


def note(reason: str, at: datetime = NOW) -> Note:
    return Note(type="Normal", reason=reason, message="", at=at, key=reason)


def told(events: EarlierEvents) -> Told:
    return Told(events, retell_seconds=600.0)


async def test_who_comes_among_many_jobs_asks_once_what_was_told_of_them() -> None:
    server, events = Server(), EarlierEvents()
    api, jobs = Api(server), [Job(f"job-{number}") for number in range(50)]
    before = {event_name(job, note("Valid")) for job in jobs}
    server.events |= before
    notes = [note("Valid"), note("Running")]
    await asyncio.gather(*(told(events).tell(api, job, notes, now=NOW) for job in jobs[:25]))
    for job in jobs[25:]:
        await told(events).tell(api, job, notes, now=NOW + timedelta(seconds=30))
    assert server.asked == {"source": 1, "POST": len(jobs)}
    assert server.events == before | {event_name(job, note("Running")) for job in jobs}
    await events.close()


async def test_what_was_told_is_looked_up_again_after_a_while() -> None:
    server, events = Server(), EarlierEvents()
    await told(events).tell(Api(server), Job("a"), [note("Valid")], now=NOW)
    later = NOW + timedelta(seconds=61)
    server.events.add(event_name(Job("b"), note("Valid")))
    await told(events).tell(Api(server), Job("b"), [note("Valid")], now=later)
    assert server.asked == {"source": 2, "POST": 1}


async def test_nothing_is_asked_where_nothing_was_to_be_told_lately() -> None:
    server, events = Server(), EarlierEvents()
    old = note("Valid", NOW - timedelta(seconds=601))
    await told(events).tell(Api(server), Job("a"), [old], now=NOW)
    await told(events).tell(Api(server), Job("b"), [], now=NOW)
    assert not server.asked


async def test_an_event_whose_answer_was_lost_is_found_by_its_name() -> None:
    server, events = Server(), EarlierEvents()
    job = Job("a")
    server.loses.add(event_name(job, note("Valid")))
    one = told(events)
    with pytest.raises(ServerError):
        await one.tell(Api(server), job, [note("Valid")], now=NOW)
    await one.tell(Api(server), job, [note("Valid")], now=NOW)
    assert server.asked == {"source": 1, "POST": 2, "metadata.name": 1}


async def test_what_cannot_be_looked_up_is_asked_for_again() -> None:
    server, events = Server(), EarlierEvents()
    server.refuses, one = True, told(events)
    with pytest.raises(ServerError):
        await one.tell(Api(server), Job("a"), [note("Valid")], now=NOW)
    assert not one.is_known
    server.refuses = False
    await one.tell(Api(server), Job("a"), [note("Valid")], now=NOW)
    assert server.asked == {"source": 2, "POST": 1}
