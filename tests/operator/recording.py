"""A way to the API server that notes what is asked of it, by whatever client.

The operator's own requests and kopf's take it alike, so nothing that needs a right goes unseen.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import aiohttp
from aiohttp import web

from mmrlhf_api.pipelines.resources import all_resources
from tests.operator.forwarding import begin, forwarded

_PATH = re.compile(
    r"^/(?:api/v1|apis/(?P<group>[^/]+)/[^/]+)"
    r"(?:/namespaces/(?P<namespace>[^/]+)(?=/))?"
    r"/(?P<resource>[^/]+)(?:/(?P<name>[^/]+)(?:/(?P<subresource>[^/]+))?)?$"
)
_PLURALS = {one.name: one.plural for one in all_resources()}
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch"}


class Right(NamedTuple):
    """What a request takes, as a rule of a role would say it."""

    group: str
    resource: str
    verb: str


@dataclass
class Recording:
    """What was asked.

    Attributes:
        url: Where to ask.
        used: Rights that requests took, whether they were had or not.
        refused: Requests that were forbidden.
    """

    url: str = ""
    used: set[Right] = field(default_factory=set)
    refused: list[str] = field(default_factory=list)


def rights(method: str, path: str, *, watch: bool, body: Any = None) -> Iterator[Right]:
    """The rights that a request takes; none for what everyone may ask, such as what is served."""
    parts = _PATH.match(path)
    if parts is None:
        return
    group, resource = parts["group"] or "", parts["resource"]
    if parts["subresource"]:
        resource = f"{resource}/{parts['subresource']}"
    named = parts["name"] is not None
    if method == "GET":
        verb = "watch" if watch else "get" if named else "list"
    elif method == "DELETE":
        verb = "delete" if named else "deletecollection"
    else:
        verb = _VERBS[method]
    yield Right(group, resource, verb)
    for owner in (body or {}).get("metadata", {}).get("ownerReferences", ()):
        if owner.get("blockOwnerDeletion"):
            # The admission plugin OwnerReferencesPermissionEnforcement asks for it.
            plural = _PLURALS[owner["kind"]]
            yield Right(owner["apiVersion"].split("/")[0], f"{plural}/finalizers", "update")


@asynccontextmanager
async def recorded(server: str, token: str, tls: ssl.SSLContext) -> AsyncIterator[Recording]:
    """Forward to a server in the name of a token, for the length of a ``with`` block."""
    recording = Recording()

    async def forward(request: web.Request, session: aiohttp.ClientSession) -> web.StreamResponse:
        content = await request.read()
        body = await request.json() if content else None
        asked = rights(request.method, request.path, watch="watch" in request.query, body=body)
        recording.used |= set(asked)
        async with session.request(
            request.method,
            f"{server}{request.path_qs}",
            data=content or None,
            headers={
                "Authorization": f"Bearer {token}",
                **{
                    name: request.headers[name]
                    for name in ("Accept", "Content-Type")
                    if name in request.headers
                },
            },
        ) as answer:
            response = await begin(request, answer)
            if answer.status in (401, 403):
                text = await answer.read()
                recording.refused.append(f"{request.method} {request.path_qs}: {text.decode()}")
                await response.write(text)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response

    async with forwarded(tls, forward) as recording.url:
        yield recording
