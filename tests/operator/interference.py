"""A way to the API server on which watches go wrong, as networks and servers do it to them."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Literal

import aiohttp
from aiohttp import web

from tests.cluster.api import Api
from tests.operator.forwarding import begin, forwarded
from tests.patience import PATIENCE

Trouble = Literal["410", "429", "500", "cut", "silence"]
"""What goes wrong.

429 and 500: Every other list and watch is refused.
410: Streams end with the news that their version is too old, after two events.
cut: Connections are lost in the middle of the third event.
silence: Connections stay, but nothing comes any more after two events, on the first two streams.
"""

_EVENTS = 2
_SILENT = 2
_EXPIRED = {
    "type": "ERROR",
    "object": {
        "apiVersion": "v1",
        "kind": "Status",
        "status": "Failure",
        "reason": "Expired",
        "message": "injected: too old resource version",
        "code": 410,
    },
}


@dataclass
class Interference:
    """What was done.

    Attributes:
        trouble: What goes wrong by itself.
        url: Where to ask.
        asked: Lists and watches by what they were of.
        spoiled: Those of them that went wrong.
    """

    trouble: Trouble | None
    url: str = ""
    asked: Counter[str] = field(default_factory=Counter)
    spoiled: Counter[str] = field(default_factory=Counter)
    _watches: dict[str, set[asyncio.Timeout]] = field(default_factory=lambda: defaultdict(set))
    _gaps: dict[str, _Gap] = field(default_factory=dict)
    _away: bool = False

    @contextmanager
    def away(self) -> Iterator[None]:
        """Break all connections and take no more of them, for the length of a ``with`` block."""
        self._away = True
        for watches in self._watches.values():
            for watch in watches:
                watch.reschedule(0.0)
        try:
            yield
        finally:
            self._away = False

    def breaks(self, request: web.Request) -> bool:
        """Whether the server is away; then the connection is gone."""
        if self._away and request.transport is not None:
            request.transport.abort()
        return self._away

    @asynccontextmanager
    async def gap(self, plural: str) -> AsyncIterator[None]:
        """Let no one hear of a kind for the length of a ``with`` block.

        When it begins, all watches of the kind have expired, and a new list is asked for, which is
        asked of the server when it ends: no watch will ever tell what is deleted within.
        """
        gap = self._gaps[plural] = _Gap()
        for watch in self._watches[plural]:
            watch.reschedule(0.0)
        try:
            async with asyncio.timeout(60 * PATIENCE):
                await gap.reached.wait()
            assert not self._watches[plural]
            yield
        finally:
            del self._gaps[plural]
            gap.over.set()

    async def wait(self, plural: str) -> None:
        """Wait while there is a gap."""
        if gap := self._gaps.get(plural):
            gap.reached.set()
            await gap.over.wait()

    @asynccontextmanager
    async def watch(self, plural: str) -> AsyncIterator[None]:
        """A watch of a kind.

        Raises:
            TimeoutError: It expires.
        """
        async with asyncio.timeout(None) as watch:
            self._watches[plural].add(watch)
            if plural in self._gaps:  # its list was asked for before
                watch.reschedule(0.0)
            try:
                yield
            finally:
                self._watches[plural].remove(watch)

    def refuses(self, name: str) -> bool:
        """Whether this one is not answered."""
        self.asked[name] += 1
        if self.trouble in {"429", "500"} and self.asked[name] % 2 == 1:
            self.spoiled[name] += 1
            return True
        return False

    def spoils(self, name: str, events: int) -> bool:
        """Whether a watch goes wrong now, after so many events."""
        if events < _EVENTS or self.trouble not in {"410", "cut", "silence"}:
            return False
        if self.trouble == "silence" and self.spoiled[name] >= _SILENT:
            return False
        self.spoiled[name] += 1
        return True


class _Gap:
    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.over = asyncio.Event()


@asynccontextmanager
async def interfered(api: Api, trouble: Trouble | None = None) -> AsyncIterator[Interference]:
    """Forward to a server for the length of a ``with`` block, and spoil lists and watches."""
    ours = Interference(trouble)

    async def forward(request: web.Request, session: aiohttp.ClientSession) -> web.StreamResponse:
        watch = "watch" in request.query
        plural = request.path.rpartition("/")[2]
        name = f"{'watch' if watch else 'list'} {plural}"
        if ours.breaks(request):
            return web.Response(status=503)  # which nobody gets
        if ours.refuses(name):
            assert trouble is not None
            return web.json_response(
                {"kind": "Status", "code": int(trouble), "message": "injected"},
                status=int(trouble),
                headers={"Retry-After": "1"} if trouble == "429" else {},
            )
        if not watch:
            await ours.wait(plural)
        headers = {"Accept": "application/json"}
        if "Authorization" in request.headers:
            headers["Authorization"] = request.headers["Authorization"]
        async with session.get(f"{api.server}{request.path_qs}", headers=headers) as answer:
            response = await begin(request, answer)
            if watch:
                try:
                    async with ours.watch(plural):
                        await _pass_on(request, answer, response, ours, name)
                except TimeoutError:
                    if ours.breaks(request):
                        return response
                    await _expire(response)
            else:
                async for chunk in answer.content.iter_any():
                    await response.write(chunk)
            await response.write_eof()
            return response

    async with forwarded(api.tls, forward) as ours.url:
        yield ours


async def _pass_on(
    request: web.Request,
    answer: aiohttp.ClientResponse,
    response: web.StreamResponse,
    ours: Interference,
    name: str,
) -> None:
    """Pass events on until one of them is spoiled."""
    events = 0
    async for line in _lines(answer):
        if ours.spoils(name, events):
            await _spoil(request, response, line, ours.trouble)
            return
        events += 1
        await response.write(line)


async def _lines(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Events may be longer than the lines that aiohttp reads."""
    rest = b""
    async for chunk in answer.content.iter_any():
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line + b"\n"


async def _spoil(
    request: web.Request, response: web.StreamResponse, line: bytes, trouble: Trouble | None
) -> None:
    if trouble == "410":
        await _expire(response)
    elif trouble == "cut":
        with contextlib.suppress(ConnectionError):
            await response.write(line[: len(line) // 2])
        assert request.transport is not None
        request.transport.abort()
    else:
        await asyncio.Event().wait()


async def _expire(response: web.StreamResponse) -> None:
    # The client may have gone before.
    with contextlib.suppress(ConnectionError):
        await response.write(json.dumps(_EXPIRED).encode() + b"\n")
