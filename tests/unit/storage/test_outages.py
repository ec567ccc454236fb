"""Waiting for an object store: for how long, how often, and what is told of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import aiohttp
import pytest
from botocore.exceptions import (  # type: ignore[import-untyped]
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
    SSLError,
)
from s3fs.errors import translate_boto_error

from mmrlhf_jobs.storage.outages import Outages, Tally
from mmrlhf_jobs.storage.s3 import is_transient


class AwayError(Exception):
    """The store does not answer."""


@dataclass
class Store:
    """A store that is away until a point in time, and a clock that only waiting moves."""

    back_at: float
    now: float = 0.0
    asked: list[float] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)

    async def request(self) -> str:
        self.asked.append(self.now)
        if self.now < self.back_at:
            raise AwayError("connection refused")
        return "answer"

    async def sleep(self, seconds: float) -> None:
        self.now += seconds

    def outages(
        self, patience: float, sleep: Callable[[float], Awaitable[None]] | None = None
    ) -> Outages:
        return Outages(
            "http://store",
            patience=patience,
            tally=self.tally,
            clock=lambda: self.now,
            sleep=sleep or self.sleep,
            tell=self.told.append,
        )


def _ask(store: Store, outages: Outages) -> str:
    return asyncio.run(
        outages.wait_out(store.request, is_transient=lambda error: isinstance(error, AwayError))
    )


def test_a_store_that_answers_is_asked_once_and_nothing_is_told() -> None:
    store = Store(back_at=0)
    assert _ask(store, store.outages(patience=300)) == "answer"
    assert (store.asked, store.told, store.tally) == ([0], [], Tally())


def test_an_outage_is_waited_out_told_and_counted() -> None:
    store = Store(back_at=100)
    outages = store.outages(patience=300)
    assert _ask(store, outages) == "answer"
    gaps = [later - sooner for sooner, later in zip(store.asked, store.asked[1:], strict=False)]
    assert gaps == [0.25, 0.5, 1, 2, 4, 8, *[10.0] * 9]
    assert store.told[0] == "http://store is away, waiting up to 300 s for it: connection refused"
    assert len(store.told) == 2 + 100 // 30
    assert store.told[-1] == f"http://store answers again after {store.now:.1f} s"
    assert store.tally == Tally(count=1, seconds=store.now)
    store.back_at = store.now + 1
    _ask(store, outages)
    assert store.tally.count == 2


def test_patience_ends_and_is_not_spent_twice() -> None:
    store = Store(back_at=1000)
    outages = store.outages(patience=60)
    with pytest.raises(AwayError):
        _ask(store, outages)
    assert store.now == 60
    tries = len(store.asked)
    with pytest.raises(AwayError):  # what is cleaned up afterwards
        _ask(store, outages)
    assert (store.now, len(store.asked)) == (60, tries + 1)
    assert "answers again" not in store.told[-1]
    store.now = 1000
    _ask(store, outages)
    store.back_at = 1001  # it has answered since: the next outage is waited for
    _ask(store, outages)
    assert store.now > 1001


def test_no_patience_is_one_try() -> None:
    store = Store(back_at=1)
    with pytest.raises(AwayError):
        _ask(store, store.outages(patience=0))
    assert store.asked == [0]


def test_what_is_refused_is_not_asked_again() -> None:
    store = Store(back_at=0)

    async def refuse() -> str:
        store.asked.append(store.now)
        raise PermissionError("no")

    with pytest.raises(PermissionError):
        asyncio.run(store.outages(300).wait_out(refuse, is_transient=lambda _: False))
    assert (len(store.asked), store.told) == (1, [])


def test_requests_that_wait_together_are_one_outage() -> None:
    store = Store(back_at=5)

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(0)  # the others come in between
        store.now += seconds / 4

    async def together() -> list[str]:
        outages = store.outages(300, sleep)
        transient = lambda error: isinstance(error, AwayError)  # noqa: E731
        return await asyncio.gather(
            *(outages.wait_out(store.request, is_transient=transient) for _ in range(4))
        )

    assert asyncio.run(together()) == ["answer"] * 4
    assert store.tally.count == 1
    assert len(store.told) == 2


def _answer(status: int, code: str) -> Exception:
    error = ClientError(
        {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "PutObject"
    )
    translated: Exception = translate_boto_error(error)
    return translated


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        (EndpointConnectionError(endpoint_url="http://x", error="refused"), True),
        (ConnectionClosedError(endpoint_url="http://x"), True),
        (ReadTimeoutError(endpoint_url="http://x"), True),
        (aiohttp.ClientPayloadError("half a body"), True),
        (aiohttp.ServerDisconnectedError(), True),
        (_answer(500, "InternalError"), True),
        (_answer(502, "Bad Gateway"), True),
        (_answer(503, "SlowDown"), True),
        (_answer(503, "ServiceUnavailable"), True),
        (_answer(429, "TooManyRequests"), True),
        (_answer(400, "RequestTimeout"), True),
        (_answer(403, "AccessDenied"), False),
        (_answer(404, "NoSuchBucket"), False),
        (_answer(404, "404"), False),
        (_answer(400, "EntityTooLarge"), False),
        (_answer(507, "InsufficientStorage"), False),
        (SSLError(endpoint_url="https://x", error="self-signed"), False),
        (NoCredentialsError(), False),
        (FileNotFoundError("no such file"), False),
        (OSError(28, "No space left on device"), False),
        (KeyError("x"), False),
    ],
    ids=str,
)
def test_what_may_go_away_by_itself(error: Exception, transient: bool) -> None:
    assert is_transient(error) is transient
