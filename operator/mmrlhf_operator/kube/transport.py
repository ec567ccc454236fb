"""HTTP to the API server: the one place that knows the client library.

Everything above speaks in plain dicts; tests put failing transports in between.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from kubernetes.aio import client, config

from mmrlhf_operator.errors import ConfigError, UnreachableError
from mmrlhf_operator.kube.certificates import CertificateFiles
from mmrlhf_operator.kube.credentials import Authorization, InCluster, Kubeconfig, Renewal, Source
from mmrlhf_operator.metrics import OPTIONAL, REFUSED, UNREACHABLE

__all__ = [
    "ApiTransport",
    "MeteredTransport",
    "Request",
    "Response",
    "Transport",
    "load_configuration",
]

_POOL = 64
_NO_OTHER: Final = aiohttp.ClientTimeout()
"""No limit of the client's: the whole call has one, and its own are timers for each request."""
_MISSING_RIGHT: Final = re.compile(rb'is forbidden: (User \\"|cannot set blockOwnerDeletion)')
_OPTIONAL: Final = re.compile(r"/api/v1/(nodes|namespaces/[^/]+/secrets)/")
_VERBS: Final = {
    "GET": "get",
    "POST": "create",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
}


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request.

    Attributes:
        method: HTTP method.
        path: Path on the API server.
        query: Query parameters.
        body: JSON body.
        content_type: Its type.
        accept: Type of the answer, or several by preference.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    content_type: str = "application/json"
    accept: str = "application/json"

    @property
    def verb(self) -> str:
        """What it does, in the words of RBAC; what asks for a page of a collection lists it."""
        if self.method == "GET" and "limit" in self.query:
            return "list"
        return _VERBS[self.method]

    @property
    def writes(self) -> bool:
        """Whether it may change anything."""
        return self.method != "GET"

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(frozen=True, kw_only=True)
class Response:
    """The answer to a request."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport(Protocol):
    """Carries requests to an API server."""

    async def send(self, request: Request, *, seconds: float) -> Response:
        """Send a request and return the answer, whatever its status.

        Raises:
            UnreachableError: There was no whole answer within ``seconds``.
        """

    async def close(self) -> None:
        """Close all connections."""


async def load_configuration(kubeconfig: Path | None = None) -> client.Configuration:
    """Return how to reach the API server: from within a pod, or by a kubeconfig.

    Args:
        kubeconfig: The file; None takes that of ``KUBECONFIG``, or the pod's own.

    Raises:
        ConfigError: There is neither, or its credential plugin gives nothing.
    """
    configuration = client.Configuration()
    try:
        source = await _load(configuration, kubeconfig)
    except config.ConfigException as error:
        raise ConfigError(f"the API server cannot be found: {error}; set KUBECONFIG") from error
    configuration.refresh_api_key_hook = Renewal(source)
    configuration.connection_pool_maxsize = _POOL
    return configuration


async def _load(configuration: client.Configuration, kubeconfig: Path | None) -> Source:
    if kubeconfig is None and "KUBERNETES_SERVICE_HOST" in os.environ:
        within = InCluster()
        await within.load(configuration)
        return within
    return await Kubeconfig.read(kubeconfig, configuration)


class ApiTransport:
    """Carries requests with the client of the Kubernetes project.

    Once files of certificates are replaced, requests go by connections of their own, and those of
    before are closed as soon as what is under way on them has its answer.

    Args:
        configuration: How to reach the API server; tokens are renewed through it.
    """

    def __init__(self, configuration: client.Configuration) -> None:
        # Left to itself, aiohttp looks into ~/.netrc before each request, in a thread, and takes
        # what it says of the host for better than the token.
        configuration.client_session_kwargs = {
            "trust_env": False,
            "middlewares": (Authorization(configuration),),
        }
        configuration.proxy = configuration.proxy or _proxy(configuration.host)
        self._configuration = configuration
        self._files = CertificateFiles(configuration)
        self._wire = _Wire(client.ApiClient(configuration))

    async def send(self, request: Request, *, seconds: float) -> Response:
        """See `Transport`."""
        url = self._configuration.host + request.path
        if request.query:
            url += "?" + urlencode(request.query, quote_via=quote)
        wire = await self._fresh_wire()
        wire.held += 1
        try:
            async with asyncio.timeout(seconds):
                # Not by the client's own way from a request to its URL, which looks through the
                # whole body for objects of the client: everything here is JSON as it is.
                answer = await wire.client.rest_client.request(
                    request.method,
                    url,
                    self._headers(request),
                    request.body,
                    _request_timeout=_NO_OTHER,
                )
                content = await answer.read()
        except TimeoutError as error:
            raise UnreachableError(f"{request}: no answer within {seconds:.0f} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise UnreachableError(f"{request}: {error or type(error).__name__}") from error
        finally:
            wire.held -= 1
            if wire is not self._wire:
                await wire.close_unless_held()
        return Response(status=answer.status, headers=dict(answer.getheaders()), body=content)

    async def close(self) -> None:
        """See `Transport`."""
        await self._wire.client.close()

    def _headers(self, request: Request) -> dict[str, str]:
        return {
            "Accept": request.accept,
            "Content-Type": request.content_type,
            "User-Agent": self._wire.client.user_agent,
        }

    async def _fresh_wire(self) -> _Wire:
        if self._files.changed():
            try:
                fresh = _Wire(client.ApiClient(self._configuration))
            except OSError:
                return self._wire  # replaced again at this moment: the next look sees it
            before, self._wire = self._wire, fresh
            await before.close_unless_held()
        return self._wire


@dataclass
class _Wire:
    """Connections, and how many requests are under way on them."""

    client: client.ApiClient
    held: int = 0

    async def close_unless_held(self) -> None:
        if not self.held:
            await self.client.close()


def _proxy(url: str) -> str | None:
    """The proxy by which the environment has a server asked (``HTTPS_PROXY``, ``NO_PROXY``)."""
    parts = urlsplit(url)
    if not parts.hostname or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    return getproxies().get(parts.scheme)


def _code(request: Request, response: Response) -> str:
    """The status; but 403 is for a right that is missing alone: no quota, no policy, no webhook.

    Nor is it for Secrets and nodes, which not every operator may read.

    As k8s.io/apiserver has it (``responsewriters.Forbidden``, and the admission plug-in
    OwnerReferencesPermissionEnforcement), in a Status as JSON.
    """
    if response.status == 403 and not _MISSING_RIGHT.search(response.body):
        return REFUSED
    if response.status == 403 and _OPTIONAL.match(request.path):
        return OPTIONAL
    return str(response.status)


class MeteredTransport:
    """Carries requests by another transport, and tells how each went.

    Args:
        inner: Carries them.
        tell: Told the verb, the HTTP status or a code of `metrics`, and the seconds.
    """

    def __init__(self, inner: Transport, tell: Callable[[str, str, float], None]) -> None:
        self._inner = inner
        self._tell = tell

    async def send(self, request: Request, *, seconds: float) -> Response:
        """See `Transport`; a request that was given up is told as one without an answer."""
        began, code = time.monotonic(), UNREACHABLE
        try:
            response = await self._inner.send(request, seconds=seconds)
            code = _code(request, response)
        finally:
            self._tell(request.verb, code, time.monotonic() - began)
        return response

    async def close(self) -> None:
        """See `Transport`."""
        await self._inner.close()
