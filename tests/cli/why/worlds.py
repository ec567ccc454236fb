"""What a cluster may look like around a job, as `explain` is given it."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from mmrlhf.client.views import JobView, PodView
from mmrlhfctl.diagnosis.answers import Answer
from mmrlhfctl.diagnosis.explanation import explain
from mmrlhfctl.diagnosis.facts import Facts, Pod
from mmrlhfctl.diagnosis.nodes import Load, Node
from tests.cli.remote.specimens import NOW, ago, condition, job_body, pod_body

__all__ = ["answer", "gpu_pod", "load", "node", "pod", "status_condition", "told", "world"]

GPU = "nvidia.com/gpu"


def world(
    *conditions: dict[str, Any],
    phase: str = "Pending",
    reason: str = "",
    status: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
    spec: Mapping[str, Any] | None = None,
    **facts: Any,
) -> Facts:
    """A job of two nodes with a living operator, and what else there is."""
    body = job_body(
        status={
            "phase": phase,
            "reason": reason,
            "observedGeneration": 1,
            "conditions": list(conditions),
            **(status or {}),
        },
        metadata=dict(metadata or {}),
        resources__nodes=2,
        **dict(spec or {}),
    )
    return Facts(job=JobView.read(body), now=NOW, **{"leases": (lease(seconds=3),), **facts})


def lease(**age: float) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "mmrlhf-system", "name": "mmrlhf-operator"},
        "spec": {"holderIdentity": "op-0", "leaseDurationSeconds": 15, "renewTime": ago(**age)},
    }


def pod(rank: int = 0, **more: Any) -> Pod:
    body = pod_body(f"digits-{more.get('attempt', 0)}-{rank}", rank=rank, **more)
    view = PodView.read(body)
    assert view is not None
    return Pod(view=view, body=body)


def gpu_pod(rank: int = 0, *, gpus: int = 8, said: str = "", **spec: Any) -> Pod:
    """A pod that looks for a node, and of which the scheduler says something."""
    resources = {"requests": {GPU: str(gpus), "cpu": "4", "memory": "16Gi"}}
    container = {"name": "job", "image": "registry.test/mmrlhf:1", "resources": resources}
    conditions = []
    if said:
        conditions = [status_condition("PodScheduled", "Unschedulable", said)]
    return pod(rank, spec={"containers": [container], **spec}, conditions=conditions)


def status_condition(kind: str, reason: str, message: str, status: str = "False") -> dict[str, Any]:
    return condition(kind, reason, message, status)


def node(
    name: str,
    *,
    gpus: int = 8,
    labels: Mapping[str, str] | None = None,
    taints: tuple[Mapping[str, str], ...] = (),
    ready: bool = True,
    cordoned: bool = False,
) -> Node:
    amounts = {GPU: Decimal(gpus), "cpu": Decimal(96), "memory": Decimal(2) ** 41}
    return Node(
        name=name,
        labels=dict(labels or {}),
        taints=taints,
        ready=ready,
        cordoned=cordoned,
        allocatable={**amounts, "pods": Decimal(110)},
    )


def load(where: str, gpus: int, holder: str = "vision/other") -> Load:
    return Load(node=where, holder=holder, requests={GPU: Decimal(gpus), "pods": Decimal(1)})


def answer(facts: Facts) -> Answer:
    return explain(facts)


def told(facts: Facts) -> list[tuple[str, str]]:
    """Topic and certainty of each cause, in order."""
    return [(one.topic.value, one.certainty.name.lower()) for one in explain(facts).causes]
