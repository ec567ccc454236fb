"""GPU nodes without GPUs: real Node objects whose status offers what an H800 machine does.

The scheduler treats them as any node. No kubelet stands behind them, so a pod that is bound there
does what the test says (see scripted_pods.py).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from tests.cluster.api import Api
from tests.cluster.wait import wait_until

Manifest = dict[str, Any]

H800_LABELS: Mapping[str, str] = {
    "kubernetes.io/arch": "amd64",
    "kubernetes.io/os": "linux",
    "nvidia.com/gpu.present": "true",
    "nvidia.com/gpu.product": "NVIDIA-H800",
    "nvidia.com/gpu.count": "8",
    "nvidia.com/gpu.memory": "81559",
    "nvidia.com/gpu.family": "hopper",
    "nvidia.com/mig.capable": "true",
}
"""As NVIDIA's feature discovery writes them on a machine with eight H800."""

H800_RESOURCES: Mapping[str, str] = {
    "cpu": "192",
    "memory": "2Ti",
    "ephemeral-storage": "4Ti",
    "pods": "110",
    "nvidia.com/gpu": "8",
    "rdma/hca": "8",
}

GPU_TAINT: Mapping[str, str] = {"key": "nvidia.com/gpu", "effect": "NoSchedule"}
"""What managed clusters put on GPU nodes."""

_HEARTBEAT_SECONDS = 10.0
_LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"


def create(
    api: Api,
    name: str,
    *,
    labels: Mapping[str, str] = H800_LABELS,
    resources: Mapping[str, str] = H800_RESOURCES,
    taints: Sequence[Mapping[str, str]] = (),
) -> None:
    """Make a node and wait until the scheduler may use it."""
    metadata = {"name": name, "labels": {**labels, "kubernetes.io/hostname": name}}
    api.create(
        "/api/v1/nodes",
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": metadata,
            "spec": {"taints": [dict(taint) for taint in taints]},
        },
    )
    offer(api, name, resources)
    set_ready(api, name, status="True")
    wait_until(
        lambda: not _unready_taints(api, name), timeout=30, what=f"the scheduler's use of {name}"
    )


def offer(api: Api, name: str, resources: Mapping[str, str]) -> None:
    """Add resources to a node; a real one keeps them too, so that GPU pods run on it."""
    body = {"status": {"capacity": dict(resources), "allocatable": dict(resources)}}
    api.patch(f"/api/v1/nodes/{name}/status", body)


def set_ready(api: Api, name: str, *, status: str) -> None:
    """Set a node's Ready condition.

    `Unknown` is what a lost node shows, `False` one whose kubelet reports trouble: the controller
    manager taints it, and evicts the pods that do not tolerate that. It needs a healthy node
    beside: with all of them lost, it suspects the network and evicts nothing.
    """
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    condition = {
        "type": "Ready",
        "status": status,
        "reason": "KubeletReady" if status == "True" else "NodeStatusUnknown",
        "message": "set by a test",
        "lastHeartbeatTime": now,
        "lastTransitionTime": now,
    }
    api.patch(f"/api/v1/nodes/{name}/status", {"status": {"conditions": [condition]}})


def delete(api: Api, name: str) -> None:
    api.delete(f"/api/v1/nodes/{name}")
    api.delete(f"{_LEASES}/{name}")


@contextmanager
def gpu_nodes(
    api: Api,
    names: Sequence[str],
    *,
    labels: Mapping[str, str] = H800_LABELS,
    resources: Mapping[str, str] = H800_RESOURCES,
    taints: Sequence[Mapping[str, str]] = (),
    heartbeat: bool = False,
) -> Iterator[None]:
    """Nodes that exist within the context.

    Args:
        api: the cluster.
        names: of the nodes.
        labels: of each node.
        resources: that each node offers.
        taints: of each node.
        heartbeat: renew the nodes' leases, as kubelets do. The tests' own clusters need none, as
            nothing there grows old; elsewhere a node without is declared lost after 40 seconds.
    """
    stop = threading.Event()
    beat = threading.Thread(target=_beat, args=(api, names, stop), daemon=True)
    try:
        if heartbeat:
            beat.start()
        for name in names:
            create(api, name, labels=labels, resources=resources, taints=taints)
        yield
    finally:
        stop.set()
        if heartbeat:
            beat.join()
        for name in names:
            delete(api, name)


def _beat(api: Api, names: Sequence[str], stop: threading.Event) -> None:
    while True:
        for name in names:
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            lease = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": name},
                "spec": {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": now},
            }
            api.apply(f"{_LEASES}/{name}", lease)
        if stop.wait(_HEARTBEAT_SECONDS):
            return


def _unready_taints(api: Api, name: str) -> list[str]:
    taints = api.get(f"/api/v1/nodes/{name}")["spec"].get("taints", ())
    return [t["key"] for t in taints if t["key"].startswith("node.kubernetes.io/")]
