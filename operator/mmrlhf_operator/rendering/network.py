"""Who may speak to the pods of a job: they to each other, and nobody else."""

from __future__ import annotations

from typing import Any

from mmrlhf_api import Job, kind_of
from mmrlhf_api.constants import LABEL_JOB, LABEL_KIND
from mmrlhf_operator.rendering.names import shared_name
from mmrlhf_operator.rendering.owned import metadata

__all__ = ["network_policy"]


def network_policy(job: Job) -> dict[str, Any]:
    """The NetworkPolicy of a job's pods.

    It names no ports: gloo and NCCL listen at ports that the system chooses, besides that of the
    rendezvous. What pods may reach is left open: object stores, model servers and DNS are where the
    cluster has them.
    """
    ours = {"matchLabels": {LABEL_KIND: job.kind, LABEL_JOB: job.metadata.name}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(job, shared_name(kind_of(job), job.metadata.name)),
        "spec": {
            "podSelector": ours,
            "policyTypes": ["Ingress"],
            "ingress": [{"from": [{"podSelector": ours}]}],
        },
    }
