"""What the cluster warns of about pods that wait for long and do not say why."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final, NamedTuple

from mmrlhf_operator.kube.api import Api, collection
from mmrlhf_operator.state.pods import PodView
from mmrlhf_operator.state.views import Finding

__all__ = ["PodWarnings"]

_STUCK_SECONDS: Final = 20.0
_AGAIN_SECONDS: Final = 20.0


class _Look(NamedTuple):
    at: datetime
    found: Finding | None


class PodWarnings:
    """The latest warning of each pod of a job, looked up when it is needed.

    A look is a request for each pod. While the pods of a gang come up, the job is planned for at
    each event of each of them: so a pod is looked at again after some time alone.
    """

    def __init__(self) -> None:
        self._looks: dict[str, _Look] = {}

    async def look(
        self, api: Api, namespace: str, pods: Iterable[PodView], *, now: datetime
    ) -> dict[str, Finding]:
        """Return the warnings about pods that have waited for long, by name of the pod.

        Args:
            api: The API server.
            namespace: Namespace of the pods.
            pods: All pods of the job.
            now: The time.

        Raises:
            ServerError: Events cannot be listed.
            UnreachableError: The server does not answer.
        """
        waiting = [pod for pod in pods if _waits_in_silence(pod, now)]
        self._looks = {pod.uid: self._looks[pod.uid] for pod in waiting if pod.uid in self._looks}
        for pod in waiting:
            last = self._looks.get(pod.uid)
            if last is None or (now - last.at).total_seconds() >= _AGAIN_SECONDS:
                found = await _latest_warning(api, namespace, pod.uid)
                self._looks[pod.uid] = _Look(now, found)
        found_by_name = ((pod.name, self._looks[pod.uid].found) for pod in waiting)
        return {name: found for name, found in found_by_name if found is not None}


def _waits_in_silence(pod: PodView, now: datetime) -> bool:
    if pod.phase != "Pending" or pod.unscheduled is not None or pod.terminating:
        return False
    # Whoever's clock says so: a look too many does no harm.
    since = min(pod.bound_since, pod.bound_at or pod.created_at)
    if (now - since).total_seconds() < _STUCK_SECONDS:
        return False
    return pod.waiting is None or pod.waiting.reason == "ContainerCreating"


async def _latest_warning(api: Api, namespace: str, uid: str) -> Finding | None:
    selector = f"involvedObject.uid={uid},type=Warning"
    listed = await api.get(collection("Event", namespace), fieldSelector=selector, limit="20")
    events = sorted(listed.get("items", ()), key=lambda event: event.get("lastTimestamp") or "")
    if not events:
        return None
    return Finding(reason=events[-1].get("reason", ""), message=events[-1].get("message", ""))
