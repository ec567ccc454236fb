"""The pods of a job."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from mmrlhf.client.cluster import Cluster
from mmrlhf.client.paths import core_path, pod_selector
from mmrlhf.client.views import JobView, PodView

__all__ = ["chosen_pods", "list_pods"]


def list_pods(cluster: Cluster, job: JobView) -> list[PodView]:
    """Return the pods that belong to a job, of all attempts."""
    items, _ = cluster.list(
        core_path("pods", job.namespace), query={"labelSelector": pod_selector(job.kind, job.name)}
    )
    pods = (PodView.read(item) for item in items)
    # A pod without an owner may be one that a person made; another owner is another job.
    return [pod for pod in pods if pod is not None and pod.owner in {"", job.uid}]


def chosen_pods(
    pods: Sequence[PodView], *, attempt: int, ranks: Collection[int], onwards: bool = False
) -> list[PodView]:
    """Return the pods of an attempt (and of those after it) with some ranks, in order."""
    found = [
        pod
        for pod in pods
        if pod.rank in ranks and (pod.attempt == attempt or (onwards and pod.attempt > attempt))
    ]
    return sorted(found, key=lambda pod: (pod.attempt, pod.rank))
