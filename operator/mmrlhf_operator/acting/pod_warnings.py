"""What the cluster warns of about pods that wait for long and do not say why."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from mmrlhf_operator.acting.shared_looks import SharedLooks
from mmrlhf_operator.kube.api import Api, collection
from mmrlhf_operator.state.pods import PodView
from mmrlhf_operator.state.views import Finding

__all__ = ["PodWarnings"]

_LOG = logging.getLogger(__name__)
_STUCK_SECONDS: Final = 20.0
_AGAIN_SECONDS: Final = 20.0
_SELECTOR: Final = "type=Warning,involvedObject.kind=Pod"
_PAGE: Final = 500
_MOST_PAGES: Final = 20


class PodWarnings:
    """The latest warning of each pod, looked up when it is needed.

    A look is for all pods of a namespace, however many of them wait, and is made again after some
    time alone.
    """

    def __init__(self) -> None:
        self._looks = SharedLooks(_warnings, seconds=_AGAIN_SECONDS)

    async def look(
        self, api: Api, namespace: str, pods: Iterable[PodView], *, now: datetime
    ) -> dict[str, Finding]:
        """Return the warnings about pods that have waited for long, by name of the pod.

        Args:
            api: The API server.
            namespace: Namespace of the pods.
            pods: All pods of a job.
            now: The time.

        Raises:
            ServerError: Events cannot be listed.
            UnreachableError: The server does not answer.
        """
        waiting = [pod for pod in pods if _waits_in_silence(pod, now)]
        if not waiting:
            return {}
        found = await self._looks.within(api, namespace, now=now)
        return {pod.name: found[pod.uid] for pod in waiting if pod.uid in found}

    async def close(self) -> None:
        """End the looks that are under way."""
        await self._looks.close()


def _waits_in_silence(pod: PodView, now: datetime) -> bool:
    if pod.phase != "Pending" or pod.unscheduled is not None or pod.terminating:
        return False
    # Whoever's clock says so: a look too many does no harm.
    since = min(pod.bound_since, pod.bound_at or pod.created_at)
    if (now - since).total_seconds() < _STUCK_SECONDS:
        return False
    return pod.waiting is None or pod.waiting.reason == "ContainerCreating"


async def _warnings(api: Api, namespace: str) -> Mapping[str, Finding]:
    """The latest warning about each pod of a namespace, by UID."""
    latest: dict[str, Mapping[str, Any]] = {}
    query = {"fieldSelector": _SELECTOR, "limit": str(_PAGE)}
    for _ in range(_MOST_PAGES):
        listed = await api.get(collection("Event", namespace), **query)
        for event in listed.get("items", ()):
            uid = (event.get("involvedObject") or {}).get("uid", "")
            if uid not in latest or _time(event) >= _time(latest[uid]):
                latest[uid] = event
        following = (listed.get("metadata") or {}).get("continue")
        if not following:
            break
        query["continue"] = following
    else:
        _LOG.warning(
            "namespace %s has more than %d warnings about pods: those behind them are not read",
            namespace,
            _PAGE * _MOST_PAGES,
        )
    return {uid: _finding(event) for uid, event in latest.items()}


def _time(event: Mapping[str, Any]) -> str:
    return event.get("lastTimestamp") or ""


def _finding(event: Mapping[str, Any]) -> Finding:
    return Finding(reason=event.get("reason", ""), message=event.get("message", ""))
