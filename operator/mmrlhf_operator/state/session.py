"""The connection by which kopf lists and watches, with what nobody reads cut off as it arrives.

Until all kinds were listed, kopf holds every object whole: who may create jobs would decide how
much memory that takes. And kopf says nowhere that it lists a kind anew, after which deletions may
have been missed, nor how its requests went: both are seen here.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import SimpleNamespace
from typing import Any

import aiohttp
import kopf
from kubernetes.aio import client

from mmrlhf_api.constants import API_VERSION
from mmrlhf_operator.kube.certificates import CertificateFiles
from mmrlhf_operator.kube.credentials import Authorization
from mmrlhf_operator.metrics import UNREACHABLE
from mmrlhf_operator.state.bodies import trim, without_managed_fields

__all__ = ["Asked", "Pause", "connect"]


class _Trimmed(aiohttp.ClientResponse):
    """An answer whose list is trimmed, and told of, before anyone has it."""

    tell: Callable[[str], None]

    async def json(self, **how: Any) -> Any:  # noqa: ANN401 - as its base has it
        """See `aiohttp.ClientResponse`."""
        content = await super().json(**how)
        if isinstance(content, dict) and isinstance(content.get("items"), list):
            self.tell(self.url.name)
            items = content["items"]
            cut = trim if content.get("apiVersion") == API_VERSION else without_managed_fields
            for number, item in enumerate(items):
                items[number] = cut(item)
        return content


class _Secured(aiohttp.ClientRequest):
    """A request by the files of certificates that are there now.

    Connections that were made by others are left to who has them: a connection is found again by
    the context that it was made with.
    """

    secure: Callable[[], ssl.SSLContext]

    def __init__(self, *what: Any, **how: Any) -> None:  # noqa: ANN401 - as its base has them
        super().__init__(*what, **how | {"ssl": self.secure()})


Asked = Callable[[str, str, float], None]
"""Told of a request: its verb, the HTTP status or ``unreachable``, and seconds to the answer."""


class Pause:
    """Has kopf wait where it wants one session after the other.

    For as long as the API server takes no credentials (401) it does, at once and without end.

    Args:
        waits: Seconds before each, but for the first one.
        quiet: Seconds after which the next one is a first one.
        sleep: Waits.
        clock: Seconds by a monotonic clock.
    """

    def __init__(
        self,
        waits: Iterable[float],
        *,
        quiet: float,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._waits, self._next = waits, iter(waits)
        self._quiet = quiet
        self._sleep = sleep
        self._clock = clock
        self._last: float | None = None

    async def keep(self) -> None:
        """Wait before a session is made, if there was one just now."""
        if self._last is None or self._clock() - self._last > self._quiet:
            self._next = iter(self._waits)
        else:
            await self._sleep(next(self._next))
        self._last = self._clock()


async def connect(
    configuration: client.Configuration,
    *,
    listed: Callable[[str], None],
    asked: Asked = lambda verb, code, seconds: None,  # noqa: ARG005 - nobody asks
) -> kopf.AiohttpSession:
    """The same credentials as the operator's own requests have, and kept as good as theirs.

    Args:
        configuration: How to reach the API server.
        listed: Called with the plural of a kind for each page of a list of it.
        asked: Called with how each request went.
    """
    tls, files = _context(configuration), CertificateFiles(configuration)

    def secure() -> ssl.SSLContext:
        nonlocal tls
        if files.changed():
            with contextlib.suppress(OSError):  # replaced again: the next look sees it
                tls = _context(configuration)
        return tls

    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        middlewares=(Authorization(configuration),),
        request_class=type("_Now", (_Secured,), {"secure": staticmethod(secure)}),
        response_class=type("_Told", (_Trimmed,), {"tell": staticmethod(listed)}),
        trace_configs=[_traced(asked)],
    )
    return kopf.AiohttpSession(server=configuration.host, aiohttp_session=session)


def _context(configuration: client.Configuration) -> ssl.SSLContext:
    """One that trusts whom the files name now, and nobody of before.

    Raises:
        OSError: They cannot be read, or do not belong together.
    """
    info = kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        ca_data=configuration.ca_cert_data,
        insecure=not configuration.verify_ssl,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
    )
    context: ssl.SSLContext = info.as_ssl_context()
    return context


def _traced(asked: Asked) -> aiohttp.TraceConfig:
    """Tell of requests."""
    trace = aiohttp.TraceConfig()

    async def begin(_: object, context: SimpleNamespace, __: object) -> None:
        context.began = time.monotonic()

    async def end(_: object, context: SimpleNamespace, how: aiohttp.TraceRequestEndParams) -> None:
        asked(_verb(how.url.query), str(how.response.status), time.monotonic() - context.began)

    async def fail(
        _: object, context: SimpleNamespace, how: aiohttp.TraceRequestExceptionParams
    ) -> None:
        asked(_verb(how.url.query), UNREACHABLE, time.monotonic() - context.began)

    trace.on_request_start.append(begin)
    trace.on_request_end.append(end)
    trace.on_request_exception.append(fail)
    return trace


def _verb(query: Mapping[str, str]) -> str:
    """In the words of RBAC; kopf asks for pages of what it lists."""
    return "watch" if "watch" in query else "list" if "limit" in query else "get"
