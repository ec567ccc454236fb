"""How the operator proves who it is, and when it must do so anew.

After client-go: a token file is read again each minute, a credential plugin is asked again once
what it gave has expired, and both once what they gave was refused
(kubernetes.io/docs/reference/access-authn-authz/authentication, client-go credential plugins).
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, Protocol

import aiohttp
from kubernetes.aio import client, config
from kubernetes.aio.config.kube_config import KubeConfigLoader

from mmrlhf_operator.errors import ConfigError

__all__ = ["Authorization", "InCluster", "Kubeconfig", "Renewal", "Source"]

_LOG = logging.getLogger(__name__)
_TOKEN: Final = "BearerToken"  # noqa: S105 - its name in the library
_EXPIRY: Final = "exec_plugin_expiry"
"""Where the loader keeps until when a plugin's answer is good; absent where that is not told."""
_PERIOD: Final = 60.0
"""Seconds between looks at what may be another one by now."""
_RETRY: Final = 10.0
"""Seconds between tries to have another one than was refused: a plugin is a process each time."""

Handler = Callable[[aiohttp.ClientRequest], Awaitable[aiohttp.ClientResponse]]


class Source(Protocol):
    """Where it stands how to reach the API server, and as whom."""

    async def load(self, configuration: client.Configuration, *, refused: bool = False) -> None:
        """Write what is there now into a configuration.

        Args:
            configuration: Written to.
            refused: What was there before was refused: it is not good, whatever it says itself.

        Raises:
            ConfigException: It is not understood.
            OSError: A file cannot be read.
        """


class InCluster:
    """What kubelet keeps in a pod's own files."""

    async def load(
        self,
        configuration: client.Configuration,
        *,
        refused: bool = False,  # noqa: ARG002 - the file is read anyway
    ) -> None:
        """See `Source`."""
        config.load_incluster_config(client_configuration=configuration, try_refresh_token=False)
        _strip(configuration)


class Kubeconfig:
    """A user of a kubeconfig: a token, a file that holds one, a plugin, or certificates.

    Args:
        loader: What has read the kubeconfig.
    """

    def __init__(self, loader: KubeConfigLoader) -> None:
        self._loader = loader
        self._has_plugin = "exec" in (loader._user or ())  # noqa: SLF001 - as the library does

    @classmethod
    async def read(cls, path: Path | None, configuration: client.Configuration) -> Kubeconfig:
        """Read a kubeconfig, and what it names, into a configuration.

        Args:
            path: The file; None takes that of ``KUBECONFIG``.
            configuration: Written to.

        Raises:
            ConfigError: Its plugin gives nothing; why not, the library logs.
            ConfigException: It is not understood.
        """
        loader = await config.load_kube_config(
            config_file=None if path is None else str(path),
            client_configuration=configuration,
            persist_config=False,
        )
        _strip(configuration)
        read = cls(loader)
        if read._has_plugin and not (configuration.api_key or configuration.cert_file):
            raise ConfigError(
                "the API server cannot be asked: the credential plugin of the kubeconfig"
                " (users[].user.exec) gives neither a token nor a certificate; see the lines above"
            )
        return read

    async def load(self, configuration: client.Configuration, *, refused: bool = False) -> None:
        """See `Source`; a plugin that does not say until when its answer is good is not asked."""
        known = vars(self._loader)
        if self._has_plugin:
            if refused:
                known.pop(_EXPIRY, None)
            elif _EXPIRY not in known:
                return
        await self._loader.load_and_set(configuration)
        _strip(configuration)


class Renewal:
    """Keeps the token and the certificate of a configuration good, as its ``refresh_api_key_hook``.

    Loops and threads may share it. What is read is read in a thread of its own, once for all who
    wait for it.

    Args:
        source: Where it stands.
        longest: Seconds that a plugin may take.
        clock: Seconds by a monotonic clock.
    """

    def __init__(
        self,
        source: Source,
        *,
        longest: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._longest = longest
        self._clock = clock
        self._lock = threading.Lock()
        self._look = clock() + _PERIOD
        self._retry = clock()

    async def __call__(self, configuration: client.Configuration) -> None:
        """Look for another token where it is time to; before each request."""
        if self._clock() >= self._look:
            await asyncio.to_thread(self._renew, configuration)

    async def replace(self, configuration: client.Configuration, header: str | None) -> None:
        """Look for another token than the one that was just refused."""
        await asyncio.to_thread(self._replace, configuration, header)

    def _renew(self, configuration: client.Configuration) -> None:
        with self._lock:
            if self._clock() >= self._look:
                self._load(configuration, refused=False)

    def _replace(self, configuration: client.Configuration, header: str | None) -> None:
        with self._lock:
            if configuration.api_key.get(_TOKEN) != header or self._clock() < self._retry:
                return  # another one is there by now, or was looked for just now
            self._load(configuration, refused=True)
            self._retry = self._clock() + _RETRY
            if configuration.api_key.get(_TOKEN) != header:
                _LOG.info("the token was refused; another one is there")
            else:
                _LOG.warning("the API server takes the credentials no more (401); no others")

    def _load(self, configuration: client.Configuration, *, refused: bool) -> None:
        loaded = self._source.load(configuration, refused=refused)
        try:
            with asyncio.Runner(loop_factory=_Loop) as runner:
                runner.run(_bounded(loaded, self._longest))
        except TimeoutError:
            _LOG.warning("the credential plugin gave no answer within %.0f s", self._longest)
        except (config.ConfigException, aiohttp.ClientError, OSError, ValueError) as error:
            # A file that is being replaced says nothing for a moment.
            _LOG.warning("credentials cannot be read anew, and stay as they are: %s", error)
        self._look = self._clock() + _PERIOD


class Authorization:
    """Has requests say who asks: a middleware of sessions of aiohttp.

    A request that is refused for its token was not looked at: it is sent again with another one.

    Args:
        configuration: Says it; its ``refresh_api_key_hook`` keeps it good.
    """

    def __init__(self, configuration: client.Configuration) -> None:
        self._configuration = configuration

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: Handler
    ) -> aiohttp.ClientResponse:
        """Send a request, and once more where there is another token than the refused one."""
        header = await self._header()
        response = await _send(request, handler, header)
        renewal = self._configuration.refresh_api_key_hook
        if response.status != 401 or not isinstance(renewal, Renewal):
            return response
        await renewal.replace(self._configuration, header)
        other = await self._header()
        if other == header:
            return response
        response.release()
        return await _send(request, handler, other)

    async def _header(self) -> str | None:
        header: str | None = await self._configuration.get_api_key_with_prefix(
            _TOKEN, "authorization"
        )
        return header


async def _send(
    request: aiohttp.ClientRequest, handler: Handler, header: str | None
) -> aiohttp.ClientResponse:
    if header is not None:
        request.headers["Authorization"] = header
    return await handler(request)


class _Loop(asyncio.SelectorEventLoop):
    """Knows the processes that were begun in it."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: list[asyncio.SubprocessTransport] = []

    async def subprocess_exec(self, *what: Any, **how: Any) -> Any:  # noqa: ANN401 - as its base
        """See `asyncio.loop.subprocess_exec`."""
        transport, protocol = await super().subprocess_exec(*what, **how)
        self.begun.append(transport)
        return transport, protocol


async def _bounded(loaded: Awaitable[None], seconds: float) -> None:
    """Wait so long; no process is left behind, as the library would leave one that hangs."""
    loop = asyncio.get_running_loop()
    try:
        await asyncio.wait_for(loaded, seconds)
    finally:
        for process in loop.begun if isinstance(loop, _Loop) else ():
            process.close()  # which kills it
            while process.get_returncode() is None:  # noqa: ASYNC110 - it has no event for that
                await asyncio.sleep(0.01)


def _strip(configuration: client.Configuration) -> None:
    """Files end in a newline, which no header may hold."""
    if token := configuration.api_key.get(_TOKEN):
        configuration.api_key[_TOKEN] = token.strip()
