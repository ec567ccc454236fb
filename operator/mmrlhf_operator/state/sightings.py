"""Since when the operator has seen what, by its own clock.

Times in pods are of other machines: of the node's kubelet, the API server, the scheduler. Each may
be wrong by minutes, and jump. What is decided by how long something has been so, or by what came
first, is decided from when the operator first saw it. After a restart that is anew.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmrlhf_operator.state.pods import PodView

__all__ = ["Sightings", "see"]


@dataclass(frozen=True, kw_only=True)
class Sightings:
    """When each fact about a pod was first seen; None for what was not.

    Attributes:
        pod: The pod itself.
        bound: That it has a node.
        begun: That the job's container has started.
        ended: That the job in it has ended, or can never start.
        disrupted: That the cluster says it takes it away.
        deleting: That it is being deleted.
    """

    pod: datetime
    bound: datetime | None = None
    begun: datetime | None = None
    ended: datetime | None = None
    disrupted: datetime | None = None
    deleting: datetime | None = None


def see(pod: PodView, before: PodView | None, now: datetime) -> PodView:
    """Return a pod with what was seen of it when.

    Args:
        pod: As it is now.
        before: As it was when it was last seen; None at the first time.
        now: Time by the operator's clock, which never goes back.
    """
    same = before is not None and before.uid == pod.uid
    old = before.seen if before is not None and same else None

    def first(fact: bool, known: datetime | None) -> datetime | None:
        return (known or now) if fact else None

    seen = Sightings(
        pod=old.pod if old else now,
        bound=first(pod.node is not None, old.bound if old else None),
        begun=first(pod.started_at is not None, old.begun if old else None),
        ended=first(pod.ended, old.ended if old else None),
        disrupted=first(pod.disruption is not None, old.disrupted if old else None),
        deleting=first(pod.terminating, old.deleting if old else None),
    )
    return replace(pod, seen=seen)
