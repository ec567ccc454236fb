"""Jobs and pods of a benchmark: many at a time, and all of them gone in the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from uuid import uuid4

from mmrlhf_api.constants import LABEL_JOB
from tests.cluster import gpu_nodes
from tests.cluster.api import Api
from tests.cluster.control_plane import accepts_pods
from tests.cluster.wait import wait_until

__all__ = ["LIMIT_SECONDS", "PODS_A_NODE", "bring", "count", "each", "place"]

PODS_A_NODE = 100
LIMIT_SECONDS = 3600.0
_THREADS = 4


@contextmanager
def place(api: Api, prefix: str, pods: int) -> Iterator[str]:
    """A namespace, with nodes for so many pods, until all of it is removed."""
    namespace = f"{prefix}-{uuid4().hex[:8]}"
    api.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
    wait_until(lambda: accepts_pods(api, namespace), timeout=60, what="a namespace")
    nodes = [f"{namespace}-{index}" for index in range(-(-pods // PODS_A_NODE))]
    try:
        with gpu_nodes.gpu_nodes(api, nodes, labels={}):
            yield namespace
    finally:
        _remove(api, namespace)


def count(api: Api, namespace: str) -> int:
    """How many pods there are, by one of them and the number of the others."""
    path = f"/api/v1/namespaces/{namespace}/pods"
    listed = api.get(path, limit="1", labelSelector="")
    return len(listed["items"]) + int(listed["metadata"].get("remainingItemCount", 0))


def bring(api: Api, namespace: str, act: Callable[[Api, str, str], object]) -> None:
    """Let something become of all pods."""
    path = f"/api/v1/namespaces/{namespace}/pods"
    names = [pod["metadata"]["name"] for pod in api.get(path, labelSelector=LABEL_JOB)["items"]]
    each(names, lambda name: act(api, namespace, name))


def each(names: Sequence[str], act: Callable[[str], object]) -> None:
    """Do something to each of some names, several at a time."""
    with ThreadPoolExecutor(_THREADS) as threads:
        for _ in threads.map(act, names):
            pass


def _remove(api: Api, namespace: str) -> None:
    """Delete a namespace, its pods without a kubelet first, however long the server takes."""
    pods = f"/api/v1/namespaces/{namespace}/pods"
    # A call that takes too long has deleted some of them; the next one goes on.
    wait_until(lambda: _is_done(api, pods), timeout=LIMIT_SECONDS, what="the end of the pods")
    api.delete(f"/api/v1/namespaces/{namespace}")


def _is_done(api: Api, path: str) -> bool:
    try:
        api.delete(path, grace_seconds=0)
    except TimeoutError:
        return False
    return True
