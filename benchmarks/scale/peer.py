"""The peer: Kubernetes' own controller of Jobs, by which JobSet makes pods.

Jobs of as many pods, each with a headless Service, as JobSet has them. JobSet's own controller
comes on top of it.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from benchmarks.scale.figures import PeerFigures
from benchmarks.scale.fleet import LIMIT_SECONDS, count, each, place
from benchmarks.scale.processes import cpu_of
from tests.cluster.access import Access
from tests.cluster.wait import wait_until

__all__ = ["run_peer"]


def run_peer(access: Access, jobs: int, pods: int) -> PeerFigures:
    """Let the controller of Jobs make as many pods, all Jobs submitted at once."""
    api = access.api
    manager = controller_manager(Path(os.environ["KUBECONFIG"]).parent)
    with place(api, "peer", jobs * pods) as namespace:
        folder = f"/apis/batch/v1/namespaces/{namespace}/jobs"

        def submit(name: str) -> None:
            api.create(f"/api/v1/namespaces/{namespace}/services", _peer_service(name))
            api.create(folder, _peer_job(name, pods))

        try:
            cpu, began = cpu_of(manager), time.monotonic()
            each([f"job-{index}" for index in range(jobs)], submit)
            wait_until(
                lambda: count(api, namespace) >= jobs * pods,
                timeout=LIMIT_SECONDS,
                what="all pods",
                interval=0.5,
            )
            seconds = time.monotonic() - began
            used = cpu_of(manager) - cpu
        finally:
            api.delete(folder)
    return PeerFigures(jobs, round(seconds, 1), round(jobs * pods / seconds, 1), round(used, 1))


def controller_manager(folder: Path) -> int:
    """The process of the controller manager of a test cluster.

    Args:
        folder: What the cluster keeps its files in.
    """
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        words = (entry / "cmdline").read_bytes().decode().split("\0")
        if words[0].endswith("/kube-controller-manager") and any(
            str(folder) in word for word in words
        ):
            return int(entry.name)
    raise SystemExit(f"no kube-controller-manager has its files in {folder}")


def _peer_service(name: str) -> dict[str, object]:
    ports = [{"name": "torchrun", "port": 29500}]
    spec = {"clusterIP": "None", "selector": {"job-name": name}, "ports": ports}
    return {"metadata": {"name": name}, "spec": spec}


def _peer_job(name: str, pods: int) -> dict[str, object]:
    asked = {"cpu": "10m", "memory": "8Mi"}
    container = {"name": "job", "image": "example.test/train:1", "resources": {"requests": asked}}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    spec = {"parallelism": pods, "completions": pods, "backoffLimit": 0, "template": template}
    return {"metadata": {"name": name}, "spec": spec}
