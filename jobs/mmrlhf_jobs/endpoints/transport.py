"""One attempt at one request over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

import aiohttp

from mmrlhf_api.model_servers import EndpointSettings
from mmrlhf_jobs.endpoints.answers import Answer, GarbageError, foreign_id, parse_answer
from mmrlhf_jobs.endpoints.pacing import retry_after
from mmrlhf_jobs.endpoints.settings import api_key
from mmrlhf_jobs.errors import EndpointError

__all__ = ["MAX_ANSWER_BYTES", "AttemptFailedError", "Fault", "Transport"]

Fault: TypeAlias = Literal[
    "timeout", "connection", "rateLimited", "serverError", "badRequest", "garbage", "foreign"
]
"""What can go wrong with an attempt."""

_HOPELESS: Final = {
    401: "the key is wrong or missing; check apiKeyEnv",
    403: "the key may not use this model; check its rights",
    404: "there is no such URL or model; check baseUrl and model",
}
_AGAIN: Final = frozenset({408, 409, 425})
_EXCERPT: Final = 300

MAX_ANSWER_BYTES: Final = 32 << 20
"""Longer answers are no texts: a model's longest has some hundred thousand tokens."""
_CHUNK: Final = 1 << 16


class AttemptFailedError(Exception):
    """An attempt gave no answer.

    Attributes:
        fault: What went wrong.
        wait: Seconds that the server asks to wait, if it does.
    """

    def __init__(self, fault: Fault, message: str, *, wait: float | None = None) -> None:
        super().__init__(message)
        self.fault = fault
        self.wait = wait

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later."""
        return self.fault != "badRequest"


class Transport:
    """Connections to one server.

    Args:
        settings: The server.
        session: Open session of aiohttp.
    """

    def __init__(self, settings: EndpointSettings, session: aiohttp.ClientSession) -> None:
        self._name = settings.name
        self._session = session
        self._url = settings.base_url.rstrip("/") + "/chat/completions"
        self._timeout = aiohttp.ClientTimeout(total=settings.timeout_seconds)
        key = api_key(settings)
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}

    async def send(self, body: Mapping[str, Any], *, request_id: str) -> Answer:
        """Send a request once.

        Redirects are not followed: the server that the job names gets prompts, images and key, and
        none that it names in turn.

        Args:
            body: Request body.
            request_id: Unique id, sent along as ``X-Request-Id``.

        Raises:
            AttemptFailedError: There is no answer.
            EndpointError: No request to this server can succeed.
        """
        headers = {**self._headers, "X-Request-Id": request_id}
        try:
            async with self._session.post(
                self._url,
                json=body,
                headers=headers,
                timeout=self._timeout,
                allow_redirects=False,
            ) as response:
                content = await _read(response)
        except TimeoutError as error:
            raise AttemptFailedError(
                "timeout", f"no answer within {self._timeout.total:g} s"
            ) from error
        except (aiohttp.ClientError, asyncio.IncompleteReadError, OSError) as error:
            raise AttemptFailedError(
                "connection", f"{type(error).__name__}: {error}" if str(error) else repr(error)
            ) from error
        if 300 <= response.status < 400:
            raise EndpointError(
                f"endpoint {self._name!r} ({self._url}): status {response.status}: it redirects to"
                f" {_place(response.headers)}, which is not followed; set baseUrl to where the"
                " server is"
            )
        if response.status != 200:
            raise self._refusal(response.status, response.headers, content)
        other = foreign_id(content, response.headers, request_id=request_id)
        if other is not None:
            raise AttemptFailedError("foreign", f"the answer to another request ({other})")
        try:
            return parse_answer(content, response.headers, request_id=request_id)
        except GarbageError as error:
            raise AttemptFailedError("garbage", str(error)) from error

    def _refusal(self, status: int, headers: Mapping[str, str], content: bytes) -> Exception:
        said = content[:_EXCERPT].decode(errors="replace").strip()
        message = f"status {status}: {said}" if said else f"status {status}"
        if status in _HOPELESS:
            return EndpointError(
                f"endpoint {self._name!r} ({self._url}): {message}; {_HOPELESS[status]}"
            )
        wait = retry_after(headers)
        if status == 429:
            return AttemptFailedError("rateLimited", message, wait=wait)
        if status >= 500 or status in _AGAIN:
            return AttemptFailedError("serverError", message, wait=wait)
        return AttemptFailedError("badRequest", message)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The body of an answer, unpacked; a server may send without end.

    Raises:
        AttemptFailedError: It is too long.
    """
    content = bytearray()
    async for piece in response.content.iter_chunked(_CHUNK):
        content += piece
        if len(content) > MAX_ANSWER_BYTES:
            raise AttemptFailedError(
                "garbage", f"an answer of more than {MAX_ANSWER_BYTES >> 20} MiB"
            )
    return bytes(content)


def _place(headers: Mapping[str, str]) -> str:
    """Scheme and host of the address that a redirect leads to; its rest may hold a token."""
    location = headers.get("Location", "nowhere")
    scheme, mark, rest = location.partition("://")
    host = rest.partition("/")[0].rpartition("@")[2]
    return f"{scheme}://{host}"[:_EXCERPT] if mark else "another path"
