"""Transports that count, fail and die."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable

from mmrlhf_operator.errors import UnreachableError
from mmrlhf_operator.transport import Request, Response, Transport


class Crash(BaseException):
    """The operator's process dies. No code of the operator may catch it."""


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

    def __init__(self, inner: Transport, log: list[tuple[Request, int]]) -> None:
        super().__init__(inner)
        self.log = log

    async def send(self, request: Request, *, seconds: float) -> Response:
        response = await super().send(request, seconds=seconds)
        self.log.append((request, response.status))
        return response


class Mortal(Wrapped):
    """Dies with its first write: once the server has done it, or just before.

    To die at a read is the same as to die after the write before it.
    """

    def __init__(self, inner: Transport, *, before: bool = False, writes: int = 1) -> None:
        super().__init__(inner)
        self._before = before
        self._left = writes

    async def send(self, request: Request, *, seconds: float) -> Response:
        if self._left <= 0:
            raise Crash
        if request.writes:
            self._left -= 1
            if self._left == 0 and self._before:
                raise Crash
        response = await super().send(request, seconds=seconds)
        if self._left <= 0:
            raise Crash
        return response


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
    """The first request of each kind fails; the same one made again is carried out.

    Args:
        inner: Carries out requests.
        fault: What goes wrong.
        late: Whether the server carries out the request all the same, and only the answer is lost.
        seen: How often each request was made, over all transports that share it.
    """

    def __init__(
        self, inner: Transport, fault: Fault, *, late: bool, seen: Counter[tuple[str, str]]
    ) -> None:
        super().__init__(inner)
        self._fault = fault
        self._late = late
        self._seen = seen

    async def send(self, request: Request, *, seconds: float) -> Response:
        key = (request.method, request.path)
        self._seen[key] += 1
        if self._seen[key] > 1 or request.path.startswith("/apis/mmrlhf.io/v1alpha1?"):
            return await super().send(request, seconds=seconds)
        if self._late:
            await super().send(request, seconds=seconds)
        outcome = self._fault(request)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome
