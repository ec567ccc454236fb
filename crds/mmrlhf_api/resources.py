"""Compute resources of a job."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Le

from mmrlhf_api.amounts import Quantity
from mmrlhf_api.base import ApiModel
from mmrlhf_api.rules import Rule

__all__ = ["MAX_NODES", "Resources"]

MAX_NODES = 4096
"""Most nodes of a job; with it the pod index has at most four digits."""


class Resources(ApiModel):
    """Nodes, processes and devices; amounts are per node, and a node is one pod."""

    nodes: Annotated[int, Ge(1), Le(MAX_NODES)] = 1
    """Number of nodes; each is one pod. The paper trained on 4 nodes of 8 H800 (paper 5.1)."""
    processes_per_node: Annotated[int, Ge(1), Le(1024)] = 1
    """Processes on each node. With GPUs it must equal gpusPerNode: one process drives one GPU."""
    gpus_per_node: Annotated[int, Ge(0), Le(64)] = 0
    """GPUs of each node; 0 runs on CPUs."""
    cpu: Quantity = "2"
    """CPU cores of each node, requested and limited, as a Kubernetes quantity."""
    memory: Quantity = "8Gi"
    """Memory of each node, requested and limited, as a Kubernetes quantity."""
    shared_memory: Quantity = "1Gi"
    """Size of /dev/shm of each node; data loaders and NCCL use it, and it counts as memory."""
    feature_cache: Literal["on", "off"] | None = None
    """Whether a training keeps what a frozen vision tower has made of an image, so that later
    epochs, reference pass, scoring and evaluation do not run the tower again; on by default. The
    projector stays trainable. Results are the same up to rounding."""
    feature_memory: Quantity | None = None
    """Memory of each node for these features, part of `memory`; without it, a sixteenth of
    `memory`. What was not used for longest goes first."""
    feature_disk: Quantity | None = None
    """Local disk of each node for these features, which its processes share while the job runs;
    without it, 8Gi. Never more than half of what is free at the start."""

    @property
    def world_size(self) -> int:
        """Number of processes over all nodes."""
        return self.nodes * self.processes_per_node

    rules = (
        Rule(
            "self.gpusPerNode == 0 || self.processesPerNode == self.gpusPerNode",
            "processesPerNode must equal gpusPerNode: one process drives one GPU",
            field="processesPerNode",
            check=lambda self: self.gpus_per_node in {0, self.processes_per_node},
            detail="must equal gpusPerNode ({self.gpus_per_node}): one process drives one GPU",
        ),
    )
