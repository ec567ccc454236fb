"""Whoever can reach the progress server costs it little, and only rank 0 of a job is heard."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mmrlhf_api import Reporter
from mmrlhf_api.constants import (
    API_VERSION,
    LABEL_ATTEMPT,
    LABEL_INDEX,
    LABEL_JOB,
    LABEL_KIND,
    LABEL_MANAGED_BY,
    MANAGER,
)
from mmrlhf_operator.kube.timestamps import format_time
from mmrlhf_operator.rendering.containers import PROGRESS_PATH
from mmrlhf_operator.rendering.volumes import AUDIENCE
from mmrlhf_operator.serving import budget
from mmrlhf_operator.serving.door import Limits
from mmrlhf_operator.serving.health import serve_health
from mmrlhf_operator.serving.progress import MAX_BYTES, ProgressServer
from mmrlhf_operator.state.progress import ProgressBoard
from mmrlhf_operator.state.store import Key
from tests.ports import free_port
from tests.unit.operator.world import START

GOOD = "e30.e30.good"
KEY = Key("MMDPOJob", "default", "demo")
STEP = {"event": "step", "step": 7, "loss": 0.5}


class Cluster:
    """Knows one job, its pods and their tokens; counts what it is asked."""

    def __init__(self) -> None:
        self.reviews: list[str] = []
        self.pods: dict[str, dict[str, Any]] = {}
        self.tokens: dict[str, str] = {}
        self.job: dict[str, Any] = {"metadata": {"uid": "uid-1"}, "status": {"attempt": 0}}
        self.add(GOOD)

    def add(self, token: str, **changes: Any) -> None:
        """A pod like that of rank 0, but for some changes, and its token."""
        owner = {
            "apiVersion": API_VERSION,
            "kind": "MMDPOJob",
            "name": "demo",
            "uid": "uid-1",
            "controller": True,
        }
        labels = {
            LABEL_MANAGED_BY: MANAGER,
            LABEL_KIND: "MMDPOJob",
            LABEL_JOB: "demo",
            LABEL_ATTEMPT: "0",
            LABEL_INDEX: "0",
        }
        body = {
            "metadata": {
                "name": changes.pop("name", "demo-0-0"),
                "uid": changes.pop("uid", "uid-p"),
                "creationTimestamp": format_time(START),
                "labels": {**labels, **changes.pop("labels", {})},
                "ownerReferences": [{**owner, **changes.pop("owner", {})}],
            }
        }
        assert not changes
        name = body["metadata"]["name"]
        self.pods.setdefault(name, body)
        self.tokens[token] = json.dumps([name, body["metadata"]["uid"]])

    async def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        assert path.endswith("/tokenreviews")
        token = body["spec"]["token"]
        self.reviews.append(token)
        if token not in self.tokens:
            return {"status": {"authenticated": False}}
        name, uid = json.loads(self.tokens[token])
        extra = {
            "authentication.kubernetes.io/pod-name": [name],
            "authentication.kubernetes.io/pod-uid": [uid],
        }
        user = {"username": "system:serviceaccount:default:default", "extra": extra}
        return {"status": {"authenticated": True, "audiences": [AUDIENCE], "user": user}}

    async def find(self, path: str) -> dict[str, Any] | None:
        name = path.rpartition("/")[2]
        return self.pods.get(name) if "/pods/" in path else self.job


class House:
    """A progress server that runs, and ways to it."""

    def __init__(self, port: int, server: ProgressServer, cluster: Cluster) -> None:
        self.port = port
        self.server = server
        self.cluster = cluster
        self.board = ProgressBoard()

    async def connect(
        self, host: str = "127.0.0.1"
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port, local_addr=(host, 0))

    async def is_closed_to(self, host: str) -> bool:
        """Whether a connection is turned away without a word."""
        async with self._closing(host) as (reader, _):
            return await ended(reader)

    async def post(
        self, body: bytes | object = b"", *, token: str = GOOD, host: str = "127.0.0.1"
    ) -> tuple[int, str]:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with self._closing(host) as (reader, writer):
            writer.write(head(token, len(content)) + content)
            return status(await reader.read())

    async def get(self, path: str) -> tuple[int, str]:
        async with self._closing("127.0.0.1") as (reader, writer):
            writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            return status(await reader.read())

    @asynccontextmanager
    async def _closing(
        self, host: str
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await self.connect(host)
        try:
            yield reader, writer
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


def head(token: str, length: int) -> bytes:
    lines = [
        f"POST {PROGRESS_PATH} HTTP/1.1",
        "Host: x",
        f"Authorization: Bearer {token}",
        f"Content-Length: {length}",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def status(answer: bytes) -> tuple[int, str]:
    first, _, rest = answer.decode().partition("\r\n")
    return int(first.split()[1]), rest.partition("\r\n\r\n")[2]


@asynccontextmanager
async def opened(**limits: Any) -> AsyncIterator[House]:
    cluster, board = Cluster(), ProgressBoard()
    server = ProgressServer(
        cluster,  # type: ignore[arg-type]
        board,
        address="127.0.0.1:0",
        changed=lambda key: None,
        clock=lambda: START,
        limits=Limits(**limits),
    )
    async with server.door.opened(server.application(), "127.0.0.1:0") as (_, port):
        house = House(port, server, cluster)
        house.board = board
        board.recognise(KEY, "uid-1", Reporter(attempt=0, uid="uid-p"))
        yield house


async def ended(reader: asyncio.StreamReader) -> bool:
    """Whether a connection ends, without a word."""
    try:
        async with asyncio.timeout(60):
            return await reader.read() == b""
    except ConnectionResetError:
        return True


async def test_rank_0_is_heard() -> None:
    async with opened() as house:
        for _ in range(3):
            assert await house.post({"events": [STEP]}) == (204, "")
        report = house.board.latest(KEY, "uid-1")
        assert report is not None
        assert (report.step, report.figures) == (7, {"loss": 0.5})
        assert house.cluster.reviews == [GOOD]


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        # Whoever may create pods may write all of this, but not take a name that is taken.
        ({"name": "thief"}, 403, "belongs to no job"),
        ({"name": "demo-0-1"}, 403, "belongs to no job"),
        ({"name": "demo-00-0"}, 403, "belongs to no job"),
        ({"name": "demo-0-0", "uid": "another"}, 401, "gone"),
        ({"name": "demo-0-2", "labels": {LABEL_INDEX: "2"}}, 403, "only rank 0"),
        ({"name": "demo-1-0", "labels": {LABEL_ATTEMPT: "1"}}, 409, "attempt 1 is over"),
        ({"name": "demo--1-0", "labels": {LABEL_ATTEMPT: "-1"}}, 409, "is over"),
        ({"name": "demo-5-0", "owner": {"uid": "uid-2"}, "labels": {LABEL_ATTEMPT: "5"}}, 403, ""),
        ({"name": "demo-6-0", "owner": {"kind": "Job"}, "labels": {LABEL_ATTEMPT: "6"}}, 403, ""),
        (
            {"name": "demo-7-0", "owner": {"controller": False}, "labels": {LABEL_ATTEMPT: "7"}},
            403,
            "",
        ),
        (
            {"name": "demo-8-0", "labels": {LABEL_ATTEMPT: "8", LABEL_MANAGED_BY: "helm"}},
            403,
            "belongs to no job",
        ),
    ],
)
async def test_no_other_pod_is_heard_whatever_it_says_of_itself(
    changes: dict[str, Any], code: int, words: str
) -> None:
    async with opened() as house:
        house.cluster.add("e30.e30.other", **changes)
        found = await house.post({"events": [STEP]}, token="e30.e30.other")
        assert found[0] == code
        assert words in found[1]
        assert house.board.latest(KEY, "uid-1") is None
        assert await house.post({"events": [STEP]}) == (204, "")


async def test_a_pod_that_took_the_place_of_the_operators_is_not_heard() -> None:
    async with opened() as house:
        house.board.recognise(KEY, "uid-1", Reporter(attempt=0, uid="uid-of-the-operators"))
        code, words = await house.post({"events": [STEP]})
        assert (code, words) == (403, "the operator made another pod under this name")
        assert house.board.latest(KEY, "uid-1") is None


async def test_until_it_is_known_which_pod_was_made_it_is_asked_to_try_again() -> None:
    async with opened() as house:
        for known in (None, Reporter(attempt=1, uid="uid-p")):
            house.board.forget(KEY)
            house.board.recognise(KEY, "uid-1", known)
            assert (await house.post({"events": [STEP]}))[0] == 503
        house.board.recognise(KEY, "uid-2", Reporter(attempt=0, uid="uid-p"))  # of another job
        assert (await house.post({"events": [STEP]}))[0] == 503
        house.board.recognise(KEY, "uid-1", Reporter(attempt=0, uid="uid-p"))
        assert await house.post({"events": [STEP]}) == (204, "")


async def test_a_head_that_does_not_end_is_not_waited_for() -> None:
    async with opened(head_seconds=1.5) as house:
        slow = [await house.connect() for _ in range(3)]
        slow[0][1].write(b"")
        slow[1][1].write(b"POST ")
        slow[2][1].write(head(GOOD, 2)[:-2] + b"X-Slow: ")
        assert [await ended(reader) for reader, _ in slow] == [True] * 3
        for _, writer in slow:
            writer.close()
        assert await house.post({"events": [STEP]}) == (204, "")


async def test_a_head_without_end_takes_no_room() -> None:
    async with opened(early_bytes=64 * 1024) as house:
        reader, writer = await house.connect()
        line = b"X-Pad: " + b"a" * 4000 + b"\r\n"
        with contextlib.suppress(ConnectionError):
            writer.write(head(GOOD, 2)[:-2])
            for _ in range(64):
                writer.write(line)
                await writer.drain()
        with contextlib.suppress(ConnectionError):
            answer = await reader.read()
            assert answer == b"" or status(answer)[0] == 400
        writer.close()
        assert await house.post({"events": [STEP]}) == (204, "")


async def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    async with opened(body_seconds=1.5) as house:
        reader, writer = await house.connect()
        writer.write(head(GOOD, 100) + b'{"eve')
        code, words = status(await reader.read())
        assert (code, "1.5 s" in words) == (408, True)
        writer.close()
        assert await house.post({"events": [STEP]}) == (204, "")


async def test_there_are_only_so_many_connections_of_one_peer_and_in_all() -> None:
    async with opened(connections=5, peer_connections=3) as house:
        first = [await house.connect("127.0.0.2") for _ in range(3)]
        for _ in range(4):
            assert await house.is_closed_to("127.0.0.2")
        assert house.server.door.connections == 3
        # Another one is let in all the same, as long as there is room.
        assert await house.post({"events": [STEP]}, host="127.0.0.3") == (204, "")
        second = [await house.connect("127.0.0.4") for _ in range(2)]
        assert await house.is_closed_to("127.0.0.5")
        # Whoever goes makes room, and whoever is in is served.
        for reader, writer in [*first[1:], *second]:
            writer.close()
            assert await reader.read() == b""
        assert await house.post({"events": [STEP]}, host="127.0.0.5") == (204, "")
        first[0][1].write(head(GOOD, 2) + b"{}")
        assert status(await first[0][0].read())[0] == 400
        first[0][1].close()


async def test_a_connection_serves_one_request() -> None:
    async with opened() as house:
        body = json.dumps({"events": [STEP]}).encode()
        reader, writer = await house.connect()
        writer.write((head(GOOD, len(body)) + body) * 5)
        answers = (await reader.read()).decode()
        assert answers.count("HTTP/1.1 ") == 1
        writer.close()


async def test_a_token_that_was_refused_is_not_asked_about_again() -> None:
    async with opened() as house:
        for _ in range(50):
            assert (await house.post(token="e30.e30.bad"))[0] == 401
        assert house.cluster.reviews == ["e30.e30.bad"]


async def test_what_is_no_token_is_not_asked_about() -> None:
    async with opened() as house:
        for token in ("x", "t17", "a.b", "a.b.c.d", "a.b.\xe4", "\udcff.b.c", "a b.c.d", "a.b.c=="):
            raw = f"Bearer {token}".encode("utf-8", "surrogateescape")
            reader, writer = await house.connect()
            writer.write(
                f"POST {PROGRESS_PATH} HTTP/1.1\r\nHost: x\r\n".encode()
                + b"Authorization: "
                + raw
                + b"\r\nContent-Length: 2\r\n\r\n{}"
            )
            assert status(await reader.read())[0] == 401, token
            writer.close()
        assert house.cluster.reviews == []


async def test_tokens_that_are_made_up_cost_few_reviews_and_nobody_else_a_word() -> None:
    async with opened() as house:
        codes = [(await house.post(token=f"e30.e30.{n}", host="127.0.0.2"))[0] for n in range(200)]
        assert set(codes) == {401, 429}
        assert len(house.cluster.reviews) < 40
        assert await house.post({"events": [STEP]}, host="127.0.0.3") == (204, "")
        # Nor does whoever is known have to wait for it.
        assert await house.post({"events": [STEP]}, host="127.0.0.2") == (204, "")


async def test_one_job_cannot_keep_the_operator_busy() -> None:
    async with opened() as house:
        codes = [(await house.post({"events": [STEP]}))[0] for _ in range(60)]
        assert codes[:10] == [204] * 10
        assert 429 in codes


ODD = [
    ('{"event":"step","step":1,"loss":1%s}' % ("0" * 400), {"step": 1}),
    ('{"event":"step","step":1,"loss":1e999}', {"step": 1}),
    ('{"event":"step","step":1,"loss":NaN,"margin":0.5}', {"step": 1, "margin": 0.5}),
    ('{"event":"step","step":1,"totalSteps":%s}' % ("9" * 4200), {"step": 1}),
    ('{"event":"step","step":1,"totalSteps":%s}' % ("9" * 5000), {"step": 1}),
    ('{"event":"step","step":%s}' % ("9" * 300), {}),
    ('{"event":"step","step":1,"etaSeconds":1e300}', {"step": 1}),
    ('{"event":"step","step":1,"etaSeconds":-5,"tokensPerSecond":-1e9}', {"step": 1}),
    ('{"event":"step","step":1,"accuracy":7,"loss":-3.5}', {"step": 1, "loss": -3.5}),
    ('{"event":"step","step":1,"loss":-1e31}', {"step": 1}),
    ('{"event":["step"],"step":{}}', {}),
]


@pytest.mark.parametrize(("event", "expected"), ODD)
async def test_odd_numbers_are_left_out_and_the_rest_is_taken(
    event: str, expected: dict[str, float], caplog: pytest.LogCaptureFixture
) -> None:
    async with opened() as house:
        with caplog.at_level(logging.INFO):
            found = await house.post(b'{"events":[' + event.encode() + b"]}")
        assert found == (204, "")
        report = house.board.latest(KEY, "uid-1")
        assert report is not None
        step = {} if report.step is None else {"step": report.step}
        assert {**step, **report.figures} == expected
        assert "Traceback" not in caplog.text
        assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_words_and_metrics_of_a_job_fit_into_its_status() -> None:
    async with opened() as house:
        events = [
            {"event": "step", "step": 1},
            {"event": "phase", "phase": "\ud800\x1b[2J" + "x" * 999},
            {
                "event": "done",
                "metrics": {"\ud800": 1, "b" * 999: 2, "c": 10**400, "d": 1e31, "e": "f", "g": 0.5},
            },
        ]
        assert await house.post({"events": events}) == (204, "")
        report = house.board.latest(KEY, "uid-1")
        assert report is not None
        assert report.stage is not None
        assert report.stage.isprintable()
        assert len(report.stage) <= 256
        assert report.metrics == {"\\ud800": 1.0, "b" * 256: 2.0, "g": 0.5}
        json.dumps([report.stage, dict(report.metrics)], ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", 400),
        (b"[]", 400),
        (b'{"events": {}}', 400),
        (b'{"events": [[]]}', 400),
        (b'{"events":' + b"[" * 100_000, 400),
        (b'{"events":[' + b'{"a":' * 40 + b"1" + b"}" * 40 + b"]}", 400),
        (b"\xff\xfe", 400),
        (b" " * (MAX_BYTES + 1), 413),
        (json.dumps({"events": [{}] * 1001}).encode(), 413),
    ],
)
async def test_bodies_that_are_none(body: bytes, code: int) -> None:
    async with opened() as house:
        assert (await house.post(body))[0] == code
        assert house.board.latest(KEY, "uid-1") is None


async def test_a_packed_body_is_not_unpacked() -> None:
    async with opened() as house:
        reader, writer = await house.connect()
        packed = b"\x1f\x8b\x08\x00" + b"\0" * 20
        coding = b"Content-Encoding: gzip\r\n\r\n"
        writer.write(head(GOOD, len(packed))[:-2] + coding + packed)
        assert status(await reader.read())[0] == 400
        writer.close()


async def test_health_has_limits_too() -> None:
    port = free_port()
    async with serve_health(f"127.0.0.1:{port}", well=lambda: None, ready=lambda: "waits"):
        house = House(port, None, Cluster())  # type: ignore[arg-type]
        assert await house.get("/healthz") == (200, "ok")
        assert await house.get("/readyz") == (500, "waits")
        assert (await house.get("/other"))[0] == 404
        many = [await house.connect() for _ in range(16)]
        assert await house.is_closed_to("127.0.0.1")
        for _, writer in many:
            writer.close()


def test_a_budget_is_paid_back_and_forgets_whoever_owes_nothing() -> None:
    kept = budget.Budget(budget.Rate(burst=2, per_second=0.5))
    for _ in range(2):
        assert kept.left("a", now=0)
        kept.spend("a", now=0)
    assert not kept.left("a", now=1)
    assert kept.left("a", now=2)
    assert kept.left("b", now=0)
    for number in range(25_000):
        kept.spend(number, now=3.0 + number)
    assert len(kept._spent) <= 10_000
