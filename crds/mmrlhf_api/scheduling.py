"""Queueing, priority and placement."""

from __future__ import annotations

from typing import Literal

from mmrlhf_api.base import ApiModel
from mmrlhf_api.rules import Rule
from mmrlhf_api.scalars import DnsLabel, DnsName, LabelKey

__all__ = ["GangProvider", "Scheduling"]

GangProvider = Literal["auto", "none", "kueue", "volcano", "coscheduling"]


class Scheduling(ApiModel):
    """How the pods of a job queue for and find their nodes."""

    queue: DnsLabel | None = None
    """Queue that admits the job: a LocalQueue of Kueue in its namespace, or a queue of Volcano."""
    priority_class: DnsName | None = None
    """PriorityClass of the pods; that of the node pool wins."""
    gang: GangProvider = "auto"
    """Who starts all pods or none: auto takes Kueue or else Volcano where a queue is named; without
    a queue, or with none, the operator creates all pods or none and the cluster places them."""
    topology_required: LabelKey | None = None
    """Node label whose value all pods must share, such as a rack or InfiniBand island."""
    topology_preferred: LabelKey | None = None
    """Node label whose value the pods should share where there is room."""

    rules = (
        Rule(
            "!(has(self.topologyRequired) && has(self.topologyPreferred))",
            "give topologyRequired or topologyPreferred, not both",
            field="topologyPreferred",
            check=lambda self: self.topology_required is None or self.topology_preferred is None,
            detail="give topologyRequired or this one, not both",
        ),
    )
