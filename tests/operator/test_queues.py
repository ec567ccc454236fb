"""Jobs in a queue of Kueue, on a real API server, with the rights that the operator has."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mmrlhf_operator.config import OperatorConfig
from mmrlhf_operator.installation.access import GRANTS
from tests.cluster.access import Access
from tests.operator import kueue
from tests.operator.conftest import StartOperator
from tests.operator.driver import CONFIG, Driver, until
from tests.operator.kueue import Kueue
from tests.operator.life import attempt
from tests.operator.recording import Right
from tests.operator.test_access import installed
from tests.operator.test_missing_rights import hurry, lacking, working

pytestmark = pytest.mark.cluster

QUEUE = {"queue": "team-a"}


@pytest.fixture
def flavor(control_plane: Access, driver: Driver) -> Iterator[str]:
    """A flavour that stands for the test's node, on a server that knows Kueue's kinds."""
    api, name = control_plane.api, driver.node
    with kueue.served(control_plane):
        api.patch(f"/api/v1/nodes/{name}", {"metadata": {"labels": {"flavour": name}}})
        api.create(
            f"{kueue.ROOT}/resourceflavors",
            {
                "apiVersion": f"{kueue.GROUP}/v1beta2",
                "kind": "ResourceFlavor",
                "metadata": {"name": name},
                "spec": {"nodeLabels": {"flavour": name}},
            },
        )
        yield name


async def test_a_job_queues_makes_way_and_ends(
    driver: Driver, flavor: str, start_operator: StartOperator
) -> None:
    queue = Kueue(driver.api, driver.namespace)
    async with start_operator():
        driver.submit(scheduling=QUEUE, runPolicy={"backoffSeconds": 0, "maxRestarts": 0})
        await driver.phase("Pending", reason="Queued")
        await until(queue.exists, what="the Workload")
        assert driver.pods() == []
        words = "insufficient unused quota for nvidia.com/gpu in flavor h800, 16 more needed"
        queue.refuse(words)
        await until(
            lambda: words in driver.status().get("message", ""),
            what=lambda: f"Kueue's words, not {driver.status()}",
        )
        assert driver.pods() == []
        queue.admit(flavor)
        await attempt(driver, 0)
        await driver.phase("Running")
        pod = driver.api.get(f"/api/v1/namespaces/{driver.namespace}/pods/demo-0-0")
        assert pod["spec"]["nodeSelector"] == {"flavour": flavor}
        assert pod["metadata"]["annotations"]["kueue.x-k8s.io/workload"] == "mmdpo-demo"
        await until(
            lambda: queue.condition("PodsReady").get("status") == "True", what="the pods, ready"
        )
        queue.evict("to accommodate a workload of higher priority")
        await until(
            lambda: driver.condition("Restarting").get("reason") == "Preempted",
            what=lambda: f"the preemption, not {driver.status()}",
        )
        assert queue.holds_quota()  # until its pods are gone
        await until(lambda: not driver.left(), what="the end of its pods")
        await until(lambda: not queue.holds_quota(), what="its quota")
        await driver.phase("Pending", reason="Queued")
        assert driver.status()["restarts"] == 0
        assert queue.condition("Requeued")["status"] == "True"
        queue.admit(flavor)
        await attempt(driver, 1)
        await driver.phase("Running")
        for index in (0, 1):
            driver.finish(f"demo-1-{index}")
        await driver.phase("Succeeded")
        await until(
            lambda: queue.condition("Finished").get("reason") == "Succeeded", what="its end, told"
        )
        driver.api.delete(driver.path())
        await until(lambda: not queue.exists(), what="the end of the Workload", seconds=60)


GRANTED = {
    Right(grant.group, resource, verb)
    for grant in GRANTS
    if grant.provider == "kueue"
    for resource in grant.resources
    for verb in grant.verbs
}
POOL = {"h800": {"priorityClass": "system-cluster-critical"}}
CONFIGURED = OperatorConfig.model_validate(
    {**CONFIG.model_dump(by_alias=True), "nodePools": POOL}, by_alias=True
)


async def test_rights_for_queues_are_those_that_are_used(
    driver: Driver, flavor: str, control_plane: Access, kube_namespace: str
) -> None:
    if not control_plane.is_ours:
        pytest.skip("an operator for all namespaces would meet the jobs of others")
    async with (
        installed(control_plane, kube_namespace, cluster=True) as recording,
        working(recording, CONFIGURED),
    ):
        await a_job_queues(driver, flavor)
    assert [line for line in recording.refused if "NamespaceTerminating" not in line] == []
    groups = {right.group for right in GRANTED}
    assert {right for right in recording.used if right.group in groups} == GRANTED


async def test_each_right_for_queues_that_is_missing_is_told_until_it_is_given(
    driver: Driver, flavor: str, control_plane: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(monkeypatch)
    config = CONFIGURED.model_copy(update={"namespaces": (driver.namespace,)})
    async with lacking(GRANTED, control_plane, driver, config):
        await a_job_queues(driver, flavor)


async def a_job_queues(driver: Driver, flavor: str) -> None:
    """Bring the operator to do all that it does for a queue."""
    queue = Kueue(driver.api, driver.namespace)
    driver.submit(scheduling=QUEUE, nodePool="h800")
    await until(queue.exists, what="the Workload")
    spec = queue.body()["spec"]
    assert spec["priorityClassRef"]["name"] == "system-cluster-critical"
    assert spec["priority"] == 2_000_000_000
    queue.admit(flavor)
    await until(lambda: len(driver.pods()) == 2, what="the pods", seconds=60)
    driver.edit(runPolicy={"suspend": True})
    await until(lambda: not driver.left() and not queue.exists(), what="its leaving")
    driver.edit(runPolicy={"suspend": False})
    await until(queue.exists, what="the Workload, anew", seconds=60)
    queue.admit(flavor)
    await attempt(driver, 1)
    for index in (0, 1):
        driver.finish(f"demo-1-{index}")
    await until(lambda: queue.condition("Finished").get("status") == "True", what="its end, told")
