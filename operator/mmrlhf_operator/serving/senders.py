"""Who sends progress: tokens are reviewed by the API server, and what it said is kept for a while.

A pod proves who it is by a service-account token that Kubernetes bound to the pod and made for our
audience alone. TokenReview says which pod that is; it must be the one that the operator made as
index 0 of the job's current attempt: its name is the one that the operator gives, its UID is that
of the token and the one that the operator was told when it made the pod, and the job controls it.

Each review is a request to the API server, and whoever can reach us can make up tokens. So what is
no token is not asked about, a refusal is kept as well as an answer, a peer has only so many
refusals to its name, and only so many reviews are under way.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmrlhf_api import KINDS
from mmrlhf_api.constants import API_VERSION, LABEL_JOB, LABEL_KIND, LABEL_MANAGED_BY, MANAGER
from mmrlhf_operator.kube.api import Api, collection, jobs
from mmrlhf_operator.rendering.names import pod_name
from mmrlhf_operator.rendering.volumes import AUDIENCE
from mmrlhf_operator.serving.budget import Budget, Rate
from mmrlhf_operator.state.pods import PodView
from mmrlhf_operator.state.progress import ProgressBoard
from mmrlhf_operator.state.store import Key

__all__ = ["RefusedError", "Sender", "Senders"]

_REVIEW = "/apis/authentication.k8s.io/v1/tokenreviews"
_POD_NAME = "authentication.kubernetes.io/pod-name"
_POD_UID = "authentication.kubernetes.io/pod-uid"
_PREFIX = "system:serviceaccount:"
_TRUST_SECONDS = 60.0
_REFUSED_SECONDS = 10.0
_NOT_YET = 503
_MOST_KNOWN = 10_000
_MOST_AT_ONCE = 32
_REFUSALS = Rate(burst=20, per_second=0.5)
_TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
"""A JSON Web Token (RFC 7519), which every token that is bound to a pod is."""


@dataclass(frozen=True)
class Sender:
    """Who sends progress.

    Attributes:
        key: The job.
        uid: Its identity.
        attempt: Attempt that the pod is of.
    """

    key: Key
    uid: str
    attempt: int


class RefusedError(Exception):
    """A request is refused.

    Args:
        status: HTTP status of the answer.
        text: Why, for people.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class Senders:
    """Knows who a token is of.

    Args:
        api: The API server.
        board: Knows which pods may report.
    """

    def __init__(self, api: Api, board: ProgressBoard) -> None:
        self._api = api
        self._board = board
        # By digest of the token, so that no token is kept.
        self._known: dict[bytes, tuple[float, Sender]] = {}
        self._refused: dict[bytes, tuple[float, RefusedError]] = {}
        self._refusals = Budget(_REFUSALS)
        self._under_way = 0

    async def identify(self, authorization: str, *, peer: str) -> Sender:
        """Return who sends.

        Args:
            authorization: The header that says so.
            peer: Where it comes from.

        Raises:
            RefusedError: Nobody who may.
            ServerError: The API server cannot say; UnreachableError: it does not answer.
        """
        now = asyncio.get_running_loop().time()
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise RefusedError(401, "send a bearer token")
        if _TOKEN.fullmatch(token) is None:
            raise _invalid()
        digest = hashlib.sha256(token.encode()).digest()
        known = self._known.get(digest)
        if known is not None and now < known[0]:
            return known[1]
        refused = self._refused.get(digest)
        if refused is not None and now < refused[0]:
            raise RefusedError(refused[1].status, refused[1].text)
        return await self._ask(token, digest, peer)

    async def _ask(self, token: str, digest: bytes, peer: str) -> Sender:
        loop = asyncio.get_running_loop()
        if not self._refusals.left(peer, now=loop.time()):
            raise RefusedError(429, "too many tokens were refused; try again later")
        if self._under_way >= _MOST_AT_ONCE:
            raise RefusedError(429, "too many tokens are being reviewed; try again")
        self._under_way += 1
        try:
            sender = await self._review(token)
        except RefusedError as refusal:
            now = loop.time()
            self._refusals.spend(peer, now=now)
            if refusal.status != _NOT_YET:
                _keep(self._refused, digest, (now + _REFUSED_SECONDS, refusal), now=now)
            raise
        finally:
            self._under_way -= 1
        now = loop.time()
        _keep(self._known, digest, (now + _TRUST_SECONDS, sender), now=now)
        return sender

    async def _review(self, token: str) -> Sender:
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [AUDIENCE]},
        }
        status = (await self._api.create(_REVIEW, body)).get("status") or {}
        if not status.get("authenticated") or AUDIENCE not in (status.get("audiences") or ()):
            raise _invalid()
        user = status.get("user") or {}
        extra = user.get("extra") or {}
        name, uid = _only(extra.get(_POD_NAME)), _only(extra.get(_POD_UID))
        username = str(user.get("username", ""))
        if name is None or uid is None or not username.startswith(_PREFIX):
            raise RefusedError(403, "the token is not bound to a pod")
        namespace = username.removeprefix(_PREFIX).split(":", 1)[0]
        pod = await self._api.find(f"{collection('Pod', namespace)}/{name}")
        if pod is None or pod["metadata"]["uid"] != uid:
            raise RefusedError(401, "the pod of the token is gone")
        return await self._sender(namespace, pod)

    async def _sender(self, namespace: str, pod: dict[str, Any]) -> Sender:
        view = PodView.read(pod)
        labels = pod["metadata"].get("labels") or {}
        kind = KINDS.get(labels.get(LABEL_KIND, ""))
        name = labels.get(LABEL_JOB)
        if view is None or kind is None or not name or labels.get(LABEL_MANAGED_BY) != MANAGER:
            raise RefusedError(403, "the pod belongs to no job")
        # Labels and owners are anybody's to write who may create pods; the name is taken.
        job = await self._api.find(f"{jobs(kind, namespace)}/{name}")
        stem = ((job or {}).get("status") or {}).get("podStem") or name
        if view.name != pod_name(stem, attempt=view.attempt, index=view.index):
            raise RefusedError(403, "the pod belongs to no job")
        owner = {"apiVersion": API_VERSION, "kind": kind.name, "name": name}
        if job is None or _controller(pod) != {**owner, "uid": job["metadata"]["uid"]}:
            raise RefusedError(403, "the pod belongs to no job")
        if view.index != 0:
            raise RefusedError(403, "only rank 0 reports progress")
        current = (job.get("status") or {}).get("attempt", 0)
        if view.attempt != current:
            raise RefusedError(409, f"attempt {view.attempt} is over; {current} is under way")
        sender = Sender(Key(kind.name, namespace, name), job["metadata"]["uid"], view.attempt)
        made = self._board.reporter(sender.key, sender.uid)
        if made is None or made.attempt != view.attempt:
            raise RefusedError(_NOT_YET, "the pods of this attempt are not written down; try again")
        if made.uid != view.uid:
            raise RefusedError(403, "the operator made another pod under this name")
        return sender


def _invalid() -> RefusedError:
    return RefusedError(401, f"the token is not valid for the audience {AUDIENCE}")


def _keep(kept: dict[bytes, Any], digest: bytes, entry: tuple[float, Any], *, now: float) -> None:
    """Keep what was found out until its time is over, and not more than some."""
    if len(kept) >= _MOST_KNOWN:
        for old in [key for key, (until, _) in kept.items() if until <= now]:
            del kept[old]
        if len(kept) >= _MOST_KNOWN:
            kept.clear()
    kept[digest] = entry


def _controller(pod: Mapping[str, Any]) -> dict[str, Any] | None:
    """The owner that controls a pod, by what identifies it."""
    for owner in pod["metadata"].get("ownerReferences") or ():
        if owner.get("controller"):
            return {key: owner.get(key) for key in ("apiVersion", "kind", "name", "uid")}
    return None


def _only(values: object) -> str | None:
    return str(values[0]) if isinstance(values, list) and len(values) == 1 else None
