"""Node-pool profiles: what a kind of node needs of a pod, named by ``spec.nodePool``.

What a profile says goes before what a job says, but for the environment.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated

from annotated_types import MaxLen
from pydantic import AfterValidator, Field, Strict

from mmrlhf_api.amounts import Quantity
from mmrlhf_api.base import ApiModel
from mmrlhf_api.pod import Toleration
from mmrlhf_api.scalars import DnsName, LabelKey, LabelMap, Matching, StringMap, Text, Word

__all__ = ["Claim", "NodePool"]

Capability = Annotated[
    str, MaxLen(64), Matching(r"^[A-Z][A-Z0-9_]*$", "a capability such as IPC_LOCK")
]
MountPath = Annotated[
    str, MaxLen(1024), Matching(r"^/[^:]*$", "an absolute path without ':', such as /data")
]
SubPath = Annotated[
    str, MaxLen(1024), Matching(r"^[^/:][^:]*$", "a relative path without ':', such as corpora")
]
_TAKEN = ("/etc", "/tmp", "/dev", "/proc", "/sys", "/var/run", "/run")  # noqa: S108 - in the pods
"""Where mounts of the operator and the system are."""


def _apart(claims: tuple[Claim, ...]) -> tuple[Claim, ...]:
    paths = [PurePosixPath(claim.mount_path) for claim in claims]
    for path in paths:
        if ".." in path.parts or path == PurePosixPath("/"):
            raise ValueError(f"mountPath {path} is no folder of its own")
        if any(path.is_relative_to(taken) for taken in _TAKEN):
            raise ValueError(f"mountPath {path} is where pods have something else")
    if len(set(paths)) < len(paths):
        raise ValueError("two claims have one mountPath")
    return claims


class Claim(ApiModel):
    """A PersistentVolumeClaim of the job's namespace, for data or caches."""

    name: DnsName
    """Name of the claim, in the namespace of each job that uses the pool."""
    mount_path: MountPath
    """Where containers see it."""
    sub_path: SubPath | None = None
    """Folder of the volume to show there; without it, all of it."""
    read_only: bool = False
    """Whether the pods may not write there."""


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
    capabilities: Annotated[tuple[Capability, ...], Strict(strict=False), MaxLen(16)] = ()
    """Linux capabilities that processes keep, such as IPC_LOCK, with which RDMA registers memory.
    Pods that keep any fit no namespace with the restricted Pod Security Standard."""
    host_network: bool = False
    """Whether pods have their node's network, for RDMA without a secondary one. No NetworkPolicy
    holds for them, and the baseline Pod Security Standard refuses them."""
    claims: Annotated[
        tuple[Claim, ...], Strict(strict=False), MaxLen(16), AfterValidator(_apart)
    ] = ()
    """Volumes with data and caches."""
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
