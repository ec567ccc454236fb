"""Since when the operator has seen what, by its own clock.

Times in pods are of other machines: of the node's kubelet, the API server, the scheduler. Each may
be wrong by minutes, and jump. What is decided by how long something has been so, or by what came
first, is decided from when the operator first saw it. After a restart that is anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

__all__ = ["Sightings"]


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
