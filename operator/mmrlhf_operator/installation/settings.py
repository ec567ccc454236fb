"""The configuration that an operator is installed with, as people read and change it."""

from __future__ import annotations

__all__ = ["IMAGES", "NODE_POOLS", "settings"]

IMAGES = {
    "MMDPOJob": "mmrlhf/train",
    "RewardTrainJob": "mmrlhf/train",
    "ClusterSampleJob": "mmrlhf/sample",
    "StepJob": "mmrlhf/train",
}
"""Image of the pods by kind, without a tag."""

_TEXT = """\
# Configuration of the operator: take a copy into a kustomization of your own (docs/install.md).
# Every field is described in operator/mmrlhf_operator/config.py.

# Image of the pods, for jobs that name none.
images:
{images}

"""

NODE_POOLS = """\
# What a kind of node needs of a pod; a job names one by spec.nodePool.
nodePools:
  # Machines with eight H800 and InfiniBand, as the paper trained on (paper 5.1).
  h800:
    nodeSelector:
      nvidia.com/gpu.product: NVIDIA-H800 # a label of NVIDIA's GPU feature discovery
    tolerations:
      - {key: nvidia.com/gpu, operator: Exists, effect: NoSchedule}
    resources:
      rdma/hca: "1" # as your RDMA device plugin calls it
    env:
      NCCL_IB_HCA: mlx5 # InfiniBand adapters to use, by prefix
      NCCL_SOCKET_IFNAME: eth0 # the pod's own network, to find each other by
    scratchSize: 500Gi # /tmp, where checkpoints are written before they are uploaded
"""
"""Node pools, as an example of what they are."""


def settings(version: str) -> str:
    """The configuration as YAML.

    Args:
        version: Tag of the images of jobs.
    """
    images = "\n".join(f"  {kind}: {image}:{version}" for kind, image in IMAGES.items())
    return _TEXT.format(images=images) + NODE_POOLS
