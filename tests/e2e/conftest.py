"""A cluster with the operator in it, an object store beside it, and a user in front of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mmrlhf_api import KINDS
from mmrlhf_api.constants import LABEL_JOB
from tests.cluster import layout
from tests.cluster.access import Access
from tests.e2e.platform import NAMESPACE, SELECTOR, Platform, traces
from tests.e2e.user import User, kubeconfig_for
from tests.e2e.world import upload
from tests.s3.server import S3Server, run_server

ADDRESS = "MMRLHF_TEST_ADDRESS"
"""Names an address of this machine that pods reach, if the cluster is not the tests' own."""


@pytest.fixture(scope="session")
def platform(
    full_cluster: Access, load: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Platform]:
    """A cluster with the operator."""
    folder = tmp_path_factory.mktemp("platform")
    images = {**dict.fromkeys(KINDS, load("train")), "ClusterSampleJob": load("sample")}
    config = {"images": images, "progressSeconds": 1.0, "lookSeconds": 2.0}
    if not full_cluster.is_ours and (found := traces(full_cluster)):
        pytest.fail(f"mmrlhf is on this cluster already, and is not ours: {found}", pytrace=False)
    platform = Platform.prepare(full_cluster, folder, image=load("operator"), config=config)
    try:
        platform.install()
        yield platform
    finally:
        if not full_cluster.is_ours:
            platform.remove()


@pytest.fixture(scope="session")
def s3(full_cluster: Access, tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An object store that pods reach, with model, data and scores on it."""
    folder = tmp_path_factory.mktemp("s3")
    address = layout.NODE_ADDRESS if full_cluster.is_ours else os.environ.get(ADDRESS)
    if not address:
        pytest.fail(f"set {ADDRESS} to an address of this machine that pods reach", pytrace=False)
    with run_server(folder / "server", address=address) as server:
        upload(folder / "world", server)
        yield server


@pytest.fixture
def user(platform: Platform, kube_namespace: str, s3: S3Server, tmp_path: Path) -> Iterator[User]:
    """Someone with a namespace, who may use the store; what he sees last is shown on a failure."""
    kubeconfig = kubeconfig_for(platform.cluster, kube_namespace, tmp_path)
    env = {
        **s3.environment(),
        "KUBECONFIG": str(kubeconfig),
        "XDG_STATE_HOME": str(tmp_path / "state"),
    }
    user = User(platform.cluster, kube_namespace, tmp_path, env)
    literals = [f"--from-literal={name}={value}" for name, value in s3.environment().items()]
    user.kubectl("create", "secret", "generic", "s3-credentials", *literals)
    yield user
    for words in (
        "get ap,ar,sj,mmdpo,pods,events --output=wide",
        f"logs --prefix --tail=40 --ignore-errors --selector={LABEL_JOB}",
        f"get pods --output=wide --namespace={NAMESPACE}",
        f"logs --prefix --tail=60 --ignore-errors --selector={SELECTOR} --namespace={NAMESPACE}",
    ):
        print(f"$ kubectl {words}\n{user.kubectl(*words.split(), check=False)}")
