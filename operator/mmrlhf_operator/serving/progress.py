"""Takes progress from rank 0 of each job.

A pod proves who it is by a service-account token that Kubernetes bound to the pod and made for our
audience alone. TokenReview says which pod that is; the pod must be index 0 of the job's current
attempt. The body is what `mmrlhf_jobs.reporting.push` sends: ``{"events": [...]}``.

Answers: 204 taken, 400 malformed, 401 no valid token, 403 a token of something that is no pod of a
job or not rank 0, 409 a pod of an attempt that is over, 413 too large, 503 the API server is away.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aiohttp import web

from mmrlhf_api import KINDS
from mmrlhf_api.constants import LABEL_JOB, LABEL_KIND
from mmrlhf_operator.errors import ServerError, UnreachableError
from mmrlhf_operator.kube.api import Api, collection, jobs
from mmrlhf_operator.rendering.containers import PROGRESS_PATH
from mmrlhf_operator.rendering.volumes import AUDIENCE
from mmrlhf_operator.state.pods import PodView
from mmrlhf_operator.state.progress import ProgressBoard
from mmrlhf_operator.state.store import Key
from mmrlhf_operator.state.views import owner_uid

__all__ = ["MAX_BYTES", "MAX_EVENTS", "ProgressServer"]

MAX_BYTES = 256 * 1024
"""Largest body that is taken."""
MAX_EVENTS = 1000
"""Most events of one body."""

_LOG = logging.getLogger(__name__)
_REVIEW = "/apis/authentication.k8s.io/v1/tokenreviews"
_POD_NAME = "authentication.kubernetes.io/pod-name"
_POD_UID = "authentication.kubernetes.io/pod-uid"
_PREFIX = "system:serviceaccount:"
_TRUST_SECONDS = 60.0
_MOST_KNOWN = 10_000


@dataclass(frozen=True)
class _Sender:
    key: Key
    uid: str
    attempt: int


class _RefusedError(Exception):
    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class ProgressServer:
    """An HTTP server for progress.

    Args:
        api: The API server.
        board: Takes in what arrives.
        address: Host and port to listen at.
        changed: Called with the job that progress arrived of.
        clock: Tells the time.
    """

    def __init__(
        self,
        api: Api,
        board: ProgressBoard,
        *,
        address: str,
        changed: Callable[[Key], None],
        clock: Callable[[], datetime],
    ) -> None:
        self._api = api
        self._board = board
        self._address = address
        self._changed = changed
        self._clock = clock
        # Senders by digest of their token, so that no token is kept.
        self._known: dict[bytes, tuple[float, _Sender]] = {}

    def application(self) -> web.Application:
        """Return the routes."""
        app = web.Application(client_max_size=MAX_BYTES)
        app.router.add_post(PROGRESS_PATH, self._post)
        return app

    async def run(self) -> None:
        """Serve until cancelled."""
        host, _, port = self._address.rpartition(":")
        runner = web.AppRunner(self.application(), access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, host or None, int(port)).start()
            self._board.listening_since = self._clock()
            _LOG.info("listening for progress at %s", self._address)
            await asyncio.Event().wait()
        finally:
            self._board.listening_since = None
            await runner.cleanup()

    async def _post(self, request: web.Request) -> web.Response:
        try:
            sender = await self._identify(request)
            events = await _events(request)
        except _RefusedError as refusal:
            return web.Response(status=refusal.status, text=refusal.text)
        except (ServerError, UnreachableError) as error:
            _LOG.warning("progress not taken: %s", error)
            return web.Response(status=503, text="the API server is away; try again")
        latest = self._board.latest(sender.key, sender.uid)
        if latest is not None and latest.attempt > sender.attempt:
            return web.Response(status=409, text=f"attempt {sender.attempt} is over")
        self._board.post(
            sender.key, sender.uid, attempt=sender.attempt, events=events, at=self._clock()
        )
        self._changed(sender.key)
        return web.Response(status=204)

    async def _identify(self, request: web.Request) -> _Sender:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise _RefusedError(401, "send a bearer token")
        digest = hashlib.sha256(token.encode()).digest()
        now = asyncio.get_running_loop().time()
        known = self._known.get(digest)
        if known is not None and now < known[0]:
            return known[1]
        sender = await self._review(token.strip())
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[digest] = (now + _TRUST_SECONDS, sender)
        return sender

    async def _review(self, token: str) -> _Sender:
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [AUDIENCE]},
        }
        status = (await self._api.create(_REVIEW, body)).get("status") or {}
        if not status.get("authenticated") or AUDIENCE not in (status.get("audiences") or ()):
            raise _RefusedError(401, f"the token is not valid for the audience {AUDIENCE}")
        user = status.get("user") or {}
        extra = user.get("extra") or {}
        name, uid = _only(extra.get(_POD_NAME)), _only(extra.get(_POD_UID))
        username = str(user.get("username", ""))
        if name is None or uid is None or not username.startswith(_PREFIX):
            raise _RefusedError(403, "the token is not bound to a pod")
        namespace = username.removeprefix(_PREFIX).split(":", 1)[0]
        pod = await self._api.find(f"{collection('Pod', namespace)}/{name}")
        if pod is None or pod["metadata"]["uid"] != uid:
            raise _RefusedError(401, "the pod of the token is gone")
        return await self._sender(namespace, pod)

    async def _sender(self, namespace: str, pod: dict[str, Any]) -> _Sender:
        view = PodView.read(pod)
        labels = pod["metadata"].get("labels") or {}
        kind = KINDS.get(labels.get(LABEL_KIND, ""))
        name = labels.get(LABEL_JOB)
        if view is None or kind is None or not name:
            raise _RefusedError(403, "the pod belongs to no job")
        job = await self._api.find(f"{jobs(kind, namespace)}/{name}")
        # Labels are anybody's to write; the owner is what the operator wrote.
        if job is None or job["metadata"]["uid"] != owner_uid(pod):
            raise _RefusedError(403, "the pod belongs to no job")
        if view.index != 0:
            raise _RefusedError(403, "only rank 0 reports progress")
        current = (job.get("status") or {}).get("attempt", 0)
        if view.attempt != current:
            raise _RefusedError(409, f"attempt {view.attempt} is over; {current} is under way")
        return _Sender(Key(kind.name, namespace, name), job["metadata"]["uid"], view.attempt)


async def _events(request: web.Request) -> list[dict[str, Any]]:
    try:
        content = json.loads(await request.read())
    except web.HTTPRequestEntityTooLarge as error:
        raise _RefusedError(413, f"at most {MAX_BYTES} bytes") from error
    except (ValueError, RecursionError) as error:
        raise _RefusedError(400, "the body is not JSON") from error
    events = content.get("events") if isinstance(content, dict) else None
    if not isinstance(events, list) or not all(isinstance(event, dict) for event in events):
        raise _RefusedError(400, 'send {"events": [...]}')
    if len(events) > MAX_EVENTS:
        raise _RefusedError(413, f"at most {MAX_EVENTS} events")
    return events


def _only(values: object) -> str | None:
    return str(values[0]) if isinstance(values, list) and len(values) == 1 else None
