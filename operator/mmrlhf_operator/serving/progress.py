"""Takes progress from rank 0 of each job.

Who sends is for `Senders` to say. The body is what `mmrlhf_jobs.reporting.push` sends:
``{"events": [...]}``.

Answers: 204 taken, 400 malformed, 401 no valid token, 403 a token of something that is no pod of a
job or not rank 0, 408 too slow, 409 a pod of an attempt that is over, 413 too large, 429 too often,
503 the API server is away, or which pod is rank 0 is not written down yet.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

from aiohttp import web

from mmrlhf_api.foreign_json import read_object
from mmrlhf_operator.errors import ServerError, UnreachableError
from mmrlhf_operator.kube.api import Api
from mmrlhf_operator.rendering.containers import PROGRESS_PATH
from mmrlhf_operator.serving.budget import Budget, Rate
from mmrlhf_operator.serving.door import Door, Limits, peer_of
from mmrlhf_operator.serving.senders import RefusedError, Senders
from mmrlhf_operator.state.progress import ProgressBoard
from mmrlhf_operator.state.store import Key

__all__ = ["MAX_BYTES", "MAX_EVENTS", "ProgressServer"]

MAX_BYTES = 256 * 1024
"""Largest body that is taken."""
MAX_EVENTS = 1000
"""Most events of one body."""

_LOG = logging.getLogger(__name__)
_POSTS = Rate(burst=20, per_second=4)


class ProgressServer:
    """An HTTP server for progress.

    Args:
        api: The API server.
        board: Takes in what arrives.
        address: Host and port to listen at.
        changed: Called with the job that progress arrived of.
        clock: Tells the time.
        limits: What it puts up with.
        tell: Told the HTTP status of each answer to a post.
    """

    def __init__(
        self,
        api: Api,
        board: ProgressBoard,
        *,
        address: str,
        changed: Callable[[Key], None],
        clock: Callable[[], datetime],
        limits: Limits | None = None,
        tell: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._board = board
        self._address = address
        self._changed = changed
        self._clock = clock
        self._tell = tell
        self._limits = limits or Limits()
        self._senders = Senders(api, board)
        self._posts = Budget(_POSTS)
        self.door = Door(self._limits)
        """Where connections come in."""

    def application(self) -> web.Application:
        """Return the routes."""
        app = web.Application(client_max_size=MAX_BYTES)
        app.router.add_post(PROGRESS_PATH, self._post)
        return app

    async def run(self) -> None:
        """Serve until cancelled."""
        async with self.door.opened(self.application(), self._address):
            self._board.listening_since = self._clock()
            _LOG.info("listening for progress at %s", self._address)
            try:
                await asyncio.Event().wait()
            finally:
                self._board.listening_since = None

    async def _post(self, request: web.Request) -> web.Response:
        answer = await self._answer(request)
        self._tell(answer.status)
        return answer

    async def _answer(self, request: web.Request) -> web.Response:
        try:
            return await self._take(request)
        except RefusedError as refusal:
            return web.Response(status=refusal.status, text=refusal.text)
        except (ServerError, UnreachableError) as error:
            _LOG.warning("progress not taken: %s", error)
            return web.Response(status=503, text="the API server is away; try again")

    async def _take(self, request: web.Request) -> web.Response:
        sender = await self._senders.identify(
            request.headers.get("Authorization", ""), peer=peer_of(request.transport)
        )
        now = asyncio.get_running_loop().time()
        if not self._posts.left(sender.uid, now=now):
            raise RefusedError(429, "too many posts; try again in a second")
        self._posts.spend(sender.uid, now=now)
        events = await _events(request, seconds=self._limits.body_seconds)
        latest = self._board.latest(sender.key, sender.uid)
        if latest is not None and latest.attempt > sender.attempt:
            raise RefusedError(409, f"attempt {sender.attempt} is over")
        self._board.post(
            sender.key, sender.uid, attempt=sender.attempt, events=events, at=self._clock()
        )
        self._changed(sender.key)
        return web.Response(status=204)


async def _events(request: web.Request, *, seconds: float) -> list[dict[str, Any]]:
    try:
        async with asyncio.timeout(seconds):
            body = await request.read()
    except TimeoutError as error:
        raise RefusedError(408, f"the body was not there within {seconds:g} s") from error
    except web.HTTPRequestEntityTooLarge as error:
        raise RefusedError(413, f"at most {MAX_BYTES} bytes") from error
    content = read_object(body, max_size=MAX_BYTES, odd_numbers=True)
    if content is None:
        raise RefusedError(400, 'the body is not JSON of the form {"events": [...]}')
    events = content.get("events")
    if not isinstance(events, list) or not all(isinstance(event, dict) for event in events):
        raise RefusedError(400, 'send {"events": [...]}')
    if len(events) > MAX_EVENTS:
        raise RefusedError(413, f"at most {MAX_EVENTS} events")
    return events
