"""A cluster with the operator in it, an object store beside it, and a user in front of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mmrlhf_api import KINDS
from mmrlhf_api.constants import LABEL_JOB
from tests.cluster import layout
from tests.cluster.cluster import Cluster
from tests.e2e.platform import NAMESPACE, SELECTOR, install
from tests.e2e.user import User, kubeconfig_for
from tests.e2e.world import upload
from tests.s3.server import S3Server, run_server


@pytest.fixture(scope="session")
def platform(
    node: Cluster, load: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Cluster:
    """A cluster with the operator."""
    folder = tmp_path_factory.mktemp("platform")
    images = {**dict.fromkeys(KINDS, load("train")), "ClusterSampleJob": load("sample")}
    config = {"images": images, "progressSeconds": 1.0}
    install(node, folder, image=load("operator"), config=config)
    return node


@pytest.fixture(scope="session")
def s3(node: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An object store that pods reach, with model, data and scores on it."""
    folder = tmp_path_factory.mktemp("s3")
    with run_server(folder / "server", address=layout.NODE_ADDRESS) as server:
        upload(folder / "world", server)
        yield server


@pytest.fixture
def user(platform: Cluster, kube_namespace: str, s3: S3Server, tmp_path: Path) -> Iterator[User]:
    """Someone with a namespace, who may use the store; what he sees last is shown on a failure."""
    kubeconfig = kubeconfig_for(platform, kube_namespace, tmp_path)
    env = {
        **s3.environment(),
        "KUBECONFIG": str(kubeconfig),
        "XDG_STATE_HOME": str(tmp_path / "state"),
    }
    user = User(platform, kube_namespace, tmp_path, env)
    literals = [f"--from-literal={name}={value}" for name, value in s3.environment().items()]
    user.kubectl("create", "secret", "generic", "s3-credentials", *literals)
    yield user
    for words in (
        "get mmdpo,pods,events --output=wide",
        f"logs --prefix --tail=40 --ignore-errors --selector={LABEL_JOB}",
        f"get pods --output=wide --namespace={NAMESPACE}",
        f"logs --prefix --tail=60 --ignore-errors --selector={SELECTOR} --namespace={NAMESPACE}",
    ):
        print(f"$ kubectl {words}\n{user.kubectl(*words.split(), check=False)}")
