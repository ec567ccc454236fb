"""The cluster as pytest fixtures; a plugin, to be named once in `pytest_plugins`.

`control_plane` and `full_cluster` are brought up once for the whole run, on first use. A test that
uses one runs inside the cluster's network: its sockets, event loops, threads and processes live
there, and reach the API server. All other tests run outside, as ever.

With MMRLHF_TEST_CLUSTER=existing both are the cluster that KUBECONFIG names. KUBECONFIG alone
changes nothing, so that no one's cluster is tested on by accident.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest

from tests.cluster.access import Access, ExistingCluster
from tests.cluster.binaries import Level
from tests.cluster.cluster import Cluster
from tests.cluster.control_plane import accepts_pods
from tests.cluster.errors import ClusterError, ClusterInUseError
from tests.cluster.wait import wait_until

MARKER = "MMRLHF_TEST_CLUSTER"

_RUNS = 8

_visit = pytest.StashKey[ExitStack]()
_clusters = pytest.StashKey[dict[str, Access]]()


@pytest.fixture(scope="session")
def control_plane(request: pytest.FixtureRequest) -> Iterator[Access]:
    """A cluster that runs no pods: their phases are scripted (see scripted_pods.py)."""
    yield from _cluster(request, "control_plane", Level.CONTROL_PLANE)


@pytest.fixture(scope="session")
def full_cluster(request: pytest.FixtureRequest) -> Iterator[Access]:
    """A cluster with a node that runs pods."""
    yield from _cluster(request, "full_cluster", Level.FULL)


@pytest.fixture
def cluster(request: pytest.FixtureRequest) -> Access:
    """The one that the test uses of the two clusters; the control plane if it names none."""
    access: Access = request.getfixturevalue(_used(request.fixturenames) or "control_plane")
    return access


@pytest.fixture
def kube_namespace(cluster: Access) -> Iterator[str]:
    """A Kubernetes namespace of the test's own, in which pods can be created."""
    name = f"test-{uuid4().hex[:8]}"
    path = f"/api/v1/namespaces/{name}"
    cluster.api.create("/api/v1/namespaces", {"metadata": {"name": name}})
    try:
        wait_until(
            lambda: accepts_pods(cluster.api, name), timeout=30, what=f"room for pods in {name}"
        )
        yield name
    finally:
        if cluster.is_ours:
            # Nobody else ends pods on nodes without a kubelet, and the namespace waits for them.
            cluster.api.delete(f"{path}/pods", grace_seconds=0)
        cluster.api.delete(path)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Run a test that uses a cluster inside its network, from its first fixture to its last."""
    with ExitStack() as visit:
        item.config.stash[_visit] = visit
        name = _used(getattr(item, "fixturenames", ()))
        access = item.config.stash.get(_clusters, {}).get(name or "")
        if access is not None:
            visit.enter_context(access.entered())
        return (yield)


def pytest_configure(config: pytest.Config) -> None:
    """Make room for what the fixtures and the hook share."""
    config.addinivalue_line("markers", "cluster: needs the test cluster (see tests/cluster)")
    config.stash[_clusters] = {}


def _used(fixtures: Iterable[str]) -> str | None:
    """The fixture that brings up the cluster for a test with these fixtures."""
    names = set(fixtures)
    if "full_cluster" in names:
        return "full_cluster"
    return "control_plane" if names & {"control_plane", "cluster"} else None


def _cluster(request: pytest.FixtureRequest, name: str, level: Level) -> Iterator[Access]:
    try:
        access = _existing() if _wants_existing() else _brought_up(level)
    except ClusterError as error:
        pytest.fail(str(error), pytrace=False)
    clusters = request.config.stash[_clusters]
    clusters[name] = access
    try:
        # The test that asked first is inside from here on.
        request.config.stash[_visit].enter_context(access.entered())
        yield access
    finally:
        del clusters[name]
        if isinstance(access, Cluster):
            access.down()


def _brought_up(level: Level) -> Access:
    """Bring up a cluster of a name that no other run of the tests uses at the moment."""
    for number in range(1, _RUNS + 1):
        cluster = Cluster(f"test-{level.value}-{number}", level=level, keeps_images=True)
        try:
            cluster.up()
        except ClusterInUseError:
            continue
        return cluster
    raise ClusterInUseError(f"{_RUNS} test runs use clusters on this machine already: wait for one")


def _wants_existing() -> bool:
    value = os.environ.get(MARKER, "")
    if value not in ("", "existing"):
        raise ClusterError(f"{MARKER}={value} is unknown: leave it out, or set it to `existing`")
    return value == "existing"


def _existing() -> Access:
    path = os.environ.get("KUBECONFIG")
    if not path:
        raise ClusterError(f"{MARKER}=existing needs KUBECONFIG, which names the cluster")
    return ExistingCluster(Path(path))
