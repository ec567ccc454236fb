"""install.yaml on a real API server: applied from nothing, applied again, and removed.

No node is there on which the operator could start; that it does is seen in tests/e2e.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from mmrlhf_api.constants import API_VERSION
from tests.cluster.access import Access
from tests.cluster.kinds import forget_kinds
from tests.cluster.wait import wait_until
from tests.e2e.platform import NAMESPACE, Platform, traces
from tests.manifests import load_all
from tests.unit.api.specimens import changed

pytestmark = pytest.mark.cluster

OPERATOR = "/mmrlhf-operator"


@pytest.fixture
def platform(control_plane: Access, tmp_path: Path) -> Platform:
    """What is to be applied."""
    if not control_plane.is_ours:
        pytest.skip("the kinds of someone else's cluster, and the jobs, are not ours to delete")
    forget_kinds(control_plane)
    return Platform.prepare(control_plane, tmp_path, image="example.org/operator:1", config={})


def test_one_file_installs_everything_and_removes_it(
    platform: Platform, kube_namespace: str
) -> None:
    cluster = platform.cluster
    platform.remove()
    wait_until(lambda: not traces(cluster), timeout=120, what="a cluster without a trace")

    platform.apply()
    found = traces(cluster)
    bundle = list(load_all((platform.folder / "install.yaml").read_text()))
    assert {path(body) for body in bundle} <= set(found)
    wait_until(lambda: kinds_served(platform), timeout=30, what="the kinds")
    jobs = f"/apis/{API_VERSION}/namespaces/{kube_namespace}/mmdpojobs"
    name = cluster.api.create(jobs, changed("MMDPOJob"))["metadata"]["name"]
    platform.apply()  # as an upgrade does

    platform.remove_operator()
    wait_until(
        lambda: not [name for name in traces(cluster) if NAMESPACE in name or OPERATOR in name],
        timeout=60,
        what="the end of the operator",
    )
    job = f"mmdpojobs/{kube_namespace}/{name}"
    assert job in traces(cluster)
    platform.apply()
    assert job in traces(cluster)

    platform.remove()
    wait_until(lambda: not traces(cluster), timeout=120, what="a cluster without a trace")


def path(body: dict[str, dict[str, str]]) -> str:
    kind = str(body["kind"]).lower()
    where, plural = body["metadata"], f"{kind[:-1]}ies" if kind[-1] == "y" else f"{kind}s"
    return "/".join(filter(None, [plural, where.get("namespace"), where["name"]]))


def kinds_served(platform: Platform) -> bool:
    done = platform.cluster.kubectl("get", "mmdpo,csj,rewardtrainjobs", check=False)
    return done.returncode == 0
