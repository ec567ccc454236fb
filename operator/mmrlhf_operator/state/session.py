"""The connection by which kopf lists and watches, with what nobody reads cut off as it arrives.

Until all kinds were listed, kopf holds every object whole: who may create jobs would decide how
much memory that takes. And kopf says nowhere that it lists a kind anew, after which deletions may
have been missed, nor how its requests went: both are seen here.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import aiohttp
import kopf
from kubernetes.aio import client

from mmrlhf_api.constants import API_VERSION
from mmrlhf_operator.kube.certificates import CertificateFiles
from mmrlhf_operator.metrics import UNREACHABLE
from mmrlhf_operator.state.bodies import trim, without_managed_fields

__all__ = ["Asked", "connect"]


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


Asked = Callable[[str, str, float], None]
"""Told of a request: its verb, the HTTP status or ``unreachable``, and seconds to the answer."""


async def connect(
    configuration: client.Configuration,
    *,
    listed: Callable[[str], None],
    asked: Asked = lambda verb, code, seconds: None,  # noqa: ARG005 - nobody asks
) -> kopf.AiohttpSession:
    """The same credentials as the operator's own requests have, read anew each time.

    Args:
        configuration: How to reach the API server.
        listed: Called with the plural of a kind for each page of a list of it.
        asked: Called with how each request went.
    """
    token = await configuration.get_api_key_with_prefix("BearerToken")
    scheme, _, value = (token or "").rpartition(" ")
    info = kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        ca_data=configuration.ca_cert_data,
        insecure=not configuration.verify_ssl,
        scheme=scheme or None,
        token=value or None,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
    )
    tls, files = info.as_ssl_context(), CertificateFiles(configuration)

    def renew() -> None:
        if files.changed():
            with contextlib.suppress(OSError):  # replaced again: the next look sees it
                files.load(tls)

    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=tls),
        headers=info.as_http_headers(),
        response_class=type("_Told", (_Trimmed,), {"tell": staticmethod(listed)}),
        trace_configs=[_traced(asked, renew=renew)],
    )
    return kopf.AiohttpSession(server=info.server, aiohttp_session=session)


def _traced(asked: Asked, *, renew: Callable[[], None]) -> aiohttp.TraceConfig:
    """Tell of requests, and read replaced certificates before a connection is made.

    One that was made before ends by itself: watches are made anew all the time, and kopf begins a
    session anew once the API server takes its certificate no more (401).
    """
    trace = aiohttp.TraceConfig()

    async def connect(*_: object) -> None:
        renew()

    async def begin(_: object, context: SimpleNamespace, __: object) -> None:
        context.began = time.monotonic()

    async def end(_: object, context: SimpleNamespace, how: aiohttp.TraceRequestEndParams) -> None:
        asked(_verb(how.url.query), str(how.response.status), time.monotonic() - context.began)

    async def fail(
        _: object, context: SimpleNamespace, how: aiohttp.TraceRequestExceptionParams
    ) -> None:
        asked(_verb(how.url.query), UNREACHABLE, time.monotonic() - context.began)

    trace.on_connection_create_start.append(connect)
    trace.on_request_start.append(begin)
    trace.on_request_end.append(end)
    trace.on_request_exception.append(fail)
    return trace


def _verb(query: Mapping[str, str]) -> str:
    """In the words of RBAC; kopf asks for pages of what it lists."""
    return "watch" if "watch" in query else "list" if "limit" in query else "get"
