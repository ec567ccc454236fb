"""Transports that count, fail and die."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable, Mapping

from mmrlhf_api.constants import API_VERSION
from mmrlhf_operator.errors import UnreachableError
from mmrlhf_operator.kube.transport import Request, Response, Transport

Log = list[tuple[Request, int]]
"""Requests, each with the status of its answer."""


def created_pods(log: Log) -> Counter[str]:
    """How often each pod was created for real."""
    return Counter(
        request.body["metadata"]["name"]
        for request, status in log
        if request.method == "POST" and request.path.endswith("/pods") and status == 201
    )


class Crash(BaseException):
    """The operator's process dies. No code of the operator may catch it."""


def is_crash(error: BaseException) -> bool:
    """Whether an operator ended by such a death."""
    if isinstance(error, BaseExceptionGroup):
        return any(is_crash(inner) for inner in error.exceptions)
    return isinstance(error, Crash)


class Wrapped:
    """Passes everything on."""

    def __init__(self, inner: Transport) -> None:
        self.inner = inner

    async def send(self, request: Request, *, seconds: float) -> Response:
        return await self.inner.send(request, seconds=seconds)

    async def close(self) -> None:
        await self.inner.close()


class Recorded(Wrapped):
    """Notes each request with the status of its answer."""

    def __init__(self, inner: Transport, log: Log) -> None:
        super().__init__(inner)
        self.log = log

    async def send(self, request: Request, *, seconds: float) -> Response:
        response = await super().send(request, seconds=seconds)
        self.log.append((request, response.status))
        return response


class Mortal(Wrapped):
    """Dies with its first write: once the server has done it, or just before.

    To die at a read is the same as to die after the write before it. A write that is under way is
    answered and noted first: nothing that the server did is missing in the log.
    """

    def __init__(
        self,
        inner: Transport,
        *,
        before: bool = False,
        writes: int = 1,
        counts: Callable[[Request], bool] = lambda request: request.writes,
    ) -> None:
        super().__init__(inner)
        self._before = before
        self._left = writes
        self._counts = counts
        self._writing = asyncio.Lock()

    async def send(self, request: Request, *, seconds: float) -> Response:
        if self._counts(request):
            async with self._writing:
                return await self._write(request, seconds)
        response = await super().send(request, seconds=seconds) if self._left > 0 else None
        if response is None or self._left <= 0:
            async with self._writing:
                raise Crash
        return response

    async def _write(self, request: Request, seconds: float) -> Response:
        if self._left <= 0:
            raise Crash
        self._left -= 1
        if self._left == 0 and self._before:
            raise Crash
        response = await super().send(request, seconds=seconds)
        if self._left <= 0:
            raise Crash
        return response


class Lives(list[Mortal]):
    """Transports of one operator after another, each of which writes once.

    By turns one dies with its write, and the next one just before it would write again.

    Args:
        log: What the server answered is written here.
    """

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def begin(self, inner: Transport) -> Transport:
        """The transport of the next one."""
        again = len(self) % 2
        self.append(Mortal(Recorded(inner, self._log), before=bool(again), writes=1 + again))
        return self[-1]


class Overtaken(Wrapped):
    """Whatever is created has just come to be.

    A request of before did it, whose answer was lost and which the server carried out late: whoever
    looked in between saw nothing.
    """

    async def send(self, request: Request, *, seconds: float) -> Response:
        if request.method == "POST":
            await super().send(request, seconds=seconds)
        return await super().send(request, seconds=seconds)


Fault = Callable[[Request], Response | Exception]


def refuse(status: int, reason: str = "") -> Fault:
    """The server refuses."""
    body = {"kind": "Status", "status": "Failure", "reason": reason, "message": "injected"}
    content = json.dumps(body).encode()
    return lambda _: Response(status=status, headers={}, body=content)


def silence(request: Request) -> Response | Exception:
    """The server does not answer."""
    return UnreachableError(f"{request}: injected")


class Flaky(Wrapped):
    """Every request fails once and succeeds when it is made again, anew after each status written.

    Only the question for the kinds that is asked at the start is spared: it ends the operator.

    Args:
        inner: Carries out requests.
        fault: What goes wrong.
        late: Whether the server carries out the request all the same, and only the answer is lost.
    """

    def __init__(self, inner: Transport, fault: Fault, *, late: bool) -> None:
        super().__init__(inner)
        self._fault = fault
        self._late = late
        self._failed: set[str] = set()
        self.failures: Counter[str] = Counter()

    async def send(self, request: Request, *, seconds: float) -> Response:
        name = str(request)
        if name in self._failed or request.path == f"/apis/{API_VERSION}":
            return await self._carry_out(request, seconds)
        self._failed.add(name)
        self.failures[name] += 1
        fault, late = self._fail(request)
        if late:
            await self._carry_out(request, seconds)
        outcome = fault(request)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def _fail(self, request: Request) -> tuple[Fault, bool]:
        """What goes wrong with a request, and whether the server carries it out all the same."""
        return self._fault, self._late

    async def _carry_out(self, request: Request, seconds: float) -> Response:
        response = await super().send(request, seconds=seconds)
        if request.method == "PATCH" and response.status < 400:
            self._failed.clear()
        return response


class Drawn(Flaky):
    """Every request fails once, as `Flaky` has it, by a fault that is drawn for each.

    Args:
        inner: Carries out requests.
        luck: Faults by name, and whether the server carries out the request all the same.
        rng: Draws.
    """

    def __init__(
        self, inner: Transport, luck: Mapping[str, tuple[Fault, bool]], rng: random.Random
    ) -> None:
        super().__init__(inner, silence, late=False)
        self._luck = luck
        self._rng = rng
        self.drawn: Counter[str] = Counter()
        self.failed: list[Request] = []

    def _fail(self, request: Request) -> tuple[Fault, bool]:
        name = self._rng.choice(tuple(self._luck))
        self.drawn[name] += 1
        self.failed.append(request)
        return self._luck[name]


class Luckless(Wrapped):
    """Now and then something goes wrong, as a seed says: a request, its answer, or the process.

    Args:
        inner: Carries out requests.
        rng: Decides.
        rate: Share of the requests that go wrong.
        life: After so many writes the process dies.
    """

    def __init__(self, inner: Transport, rng: random.Random, *, rate: float, life: int) -> None:
        super().__init__(inner)
        self._rng = rng
        self._rate = rate
        self._left = life
        self.failures: Counter[str] = Counter()

    async def send(self, request: Request, *, seconds: float) -> Response:
        if request.path == f"/apis/{API_VERSION}":  # asked at the start: it ends the operator
            return await super().send(request, seconds=seconds)
        name, (fault, late) = self._rng.choice(tuple(FAULTS.items()))
        wrong = self._rng.random() < self._rate
        if wrong and not late:
            return self._fail(name, fault(request))
        response = await self._carry_out(request, seconds)
        return self._fail(name, fault(request)) if wrong else response

    def _fail(self, name: str, outcome: Response | Exception) -> Response:
        self.failures[name] += 1
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def _carry_out(self, request: Request, seconds: float) -> Response:
        if self._left <= 0:
            raise Crash
        self._left -= request.writes
        response = await super().send(request, seconds=seconds)
        if self._left <= 0:
            raise Crash
        return response


FAULTS: dict[str, tuple[Fault, bool]] = {
    "409": (refuse(409, "Conflict"), False),
    "410": (refuse(410, "Expired"), False),
    "429": (refuse(429, "TooManyRequests"), False),
    "500": (refuse(500, "InternalError"), False),
    "silence": (silence, False),
    # The server did what it was asked, and its answer was lost. One that says 409, 410 or 429 has
    # done nothing.
    "500-late": (refuse(500, "InternalError"), True),
    "silence-late": (silence, True),
}
"""What can go wrong with a request, and whether the server has carried it out by then."""
