"""Jobs in a queue of Kueue, on a real API server, with the rights that the operator has."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from mmrlhf_operator.config import OperatorConfig
from mmrlhf_operator.installation.access import GRANTS
from mmrlhf_operator.planning import queueing
from tests.cluster.access import Access
from tests.operator import kueue
from tests.operator.conftest import StartOperator
from tests.operator.driver import CONFIG, Driver, until
from tests.operator.kueue import Kueue
from tests.operator.life import attempt
from tests.operator.recording import Right, recorded
from tests.operator.test_access import installed
from tests.operator.test_missing_rights import Roles, hurry, lacking, working

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
_CLASSES = "/apis/scheduling.k8s.io/v1/priorityclasses"


@pytest.fixture
def priority(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], str]]:
    """Makes the class of the pool; who waits for it looks all the time."""
    monkeypatch.setattr(queueing, "_PRIORITY_SECONDS", 0.2)

    def make() -> str:
        body = {"metadata": {"name": driver.namespace}, "value": 1000}
        made: str = driver.api.create(_CLASSES, body)["metadata"]["name"]
        return made

    yield make
    driver.api.delete(f"{_CLASSES}/{driver.namespace}")


def configured(driver: Driver) -> OperatorConfig:
    pool = {"h800": {"priorityClass": driver.namespace}}
    changes = {"nodePools": pool, "namespaces": [driver.namespace]}
    return OperatorConfig.model_validate(
        {**CONFIG.model_dump(by_alias=True), **changes}, by_alias=True
    )


async def test_rights_for_queues_are_those_that_are_used(
    driver: Driver,
    flavor: str,
    priority: Callable[[], str],
    control_plane: Access,
    kube_namespace: str,
) -> None:
    if not control_plane.is_ours:
        pytest.skip("an operator for all namespaces would meet the jobs of others")
    config = configured(driver).model_copy(update={"namespaces": ()})
    async with (
        installed(control_plane, kube_namespace, cluster=True) as recording,
        working(recording, config),
    ):
        await a_job_queues(driver, flavor, priority)
    assert [line for line in recording.refused if "NamespaceTerminating" not in line] == []
    groups = {right.group for right in GRANTED}
    assert {right for right in recording.used if right.group in groups} == GRANTED


async def test_each_right_for_queues_that_is_missing_is_told_until_it_is_given(
    driver: Driver,
    flavor: str,
    priority: Callable[[], str],
    control_plane: Access,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hurry(monkeypatch)
    async with lacking(GRANTED, control_plane, driver, configured(driver)):
        await a_job_queues(driver, flavor, priority)


@pytest.mark.parametrize("admits", [False, True], ids=["waits", "admitted"])
async def test_a_priority_is_added_once_the_right_to_read_it_is_given(
    admits: bool,
    driver: Driver,
    flavor: str,
    priority: Callable[[], str],
    control_plane: Access,
) -> None:
    named, queue = priority(), Kueue(driver.api, driver.namespace)
    right = Right("scheduling.k8s.io", "priorityclasses", "get")
    roles = Roles(driver.api, driver.namespace)
    roles.give(*(roles.withheld.keys() - {right}))
    bearer, token = roles.bearer()
    try:
        async with (
            recorded(bearer.server, token, bearer.tls) as recording,
            working(recording, configured(driver)),
        ):
            driver.submit(scheduling=QUEUE, nodePool="h800")
            await until(queue.exists, what="the Workload")
            assert "priority" not in queue.body()["spec"]
            words = f"it has no priority there: PriorityClass {named} cannot be read"
            await until(lambda: words in driver.status().get("message", ""), what="the reason")
            if admits:
                queue.admit(flavor)
                await until(lambda: len(driver.pods()) == 2, what="the pods")
            roles.give(right)
            await until(lambda: queue.priority() == (named, 1000), what="the priority")
            if not admits:
                await until(
                    lambda: "no priority" not in driver.status()["message"], what="a new message"
                )
    finally:
        roles.remove()


async def a_job_queues(driver: Driver, flavor: str, priority: Callable[[], str]) -> None:
    """Bring the operator to do all that it does for a queue."""
    queue = Kueue(driver.api, driver.namespace)
    driver.submit(scheduling=QUEUE, nodePool="h800")
    await until(queue.exists, what="the Workload")
    assert "priority" not in queue.body()["spec"]
    named = priority()
    await until(lambda: queue.priority() == (named, 1000), what="its priority")
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
