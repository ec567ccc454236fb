"""Node-pool profiles: what a kind of node needs of a pod, named by ``spec.nodePool``.

What a profile says goes before what a job says, but for the environment.
"""

from __future__ import annotations

from typing import Annotated

from annotated_types import MaxLen
from pydantic import Field, Strict

from mmrlhf_api.base import ApiModel
from mmrlhf_api.pod import Toleration
from mmrlhf_api.quantities import Quantity
from mmrlhf_api.scalars import DnsName, LabelKey, LabelMap, StringMap, Text, Word

__all__ = ["NodePool"]


class NodePool(ApiModel):
    """Profile of a pool of nodes, such as machines with eight H800 and InfiniBand."""

    node_selector: LabelMap = Field(default_factory=dict)
    """Labels that the pool's nodes have."""
    tolerations: Annotated[tuple[Toleration, ...], Strict(strict=False)] = ()
    """Taints that the pool's nodes have."""
    gpu_resource: LabelKey = "nvidia.com/gpu"
    """Resource that stands for a GPU."""
    resources: Annotated[dict[LabelKey, Quantity], MaxLen(32)] = Field(default_factory=dict)
    """Further devices of each pod, such as rdma/hca, requested and limited."""
    env: Annotated[dict[Word, Text], MaxLen(128)] = Field(default_factory=dict)
    """Environment of the processes, such as NCCL_IB_HCA; the job's own env wins."""
    labels: LabelMap = Field(default_factory=dict)
    """Labels of the pods."""
    annotations: StringMap = Field(default_factory=dict)
    """Annotations of the pods, such as the name of a secondary network."""
    runtime_class: DnsName | None = None
    """RuntimeClass of the pods, such as nvidia."""
    scheduler: DnsName | None = None
    """Scheduler of the pods; without it, the cluster's default."""
    priority_class: DnsName | None = None
    """PriorityClass of the pods; it goes before the job's own."""
    scratch_size: Quantity | None = None
    """Size of /tmp; without it, that of the operator's configuration."""
