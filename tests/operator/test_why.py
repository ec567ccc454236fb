"""What ``mmrlhfctl why`` makes of what the operator writes, and the real server says to it."""

from __future__ import annotations

import pytest

from mmrlhf.client.cluster import open_cluster
from mmrlhf.client.connection import Connection
from mmrlhf.client.names import find_job, parse_job_names
from mmrlhfctl.diagnosis.answers import Cause, Certainty, Topic
from mmrlhfctl.diagnosis.explanation import explain
from mmrlhfctl.verbs.why_facts import read_facts
from tests.cluster import scripted_pods
from tests.cluster.access import Access
from tests.operator import kueue
from tests.operator.conftest import StartOperator
from tests.operator.driver import Driver, until
from tests.operator.kueue import Kueue

pytestmark = pytest.mark.cluster


def first_cause(access: Access, driver: Driver, name: str = "demo") -> Cause:
    """The first cause, but for operators without a Lease, as those of these tests are."""
    connection = Connection(kubeconfig=str(access.kubeconfig), namespace=driver.namespace)
    cluster = open_cluster(connection)
    (target,) = parse_job_names([name])
    answer = explain(read_facts(cluster, find_job(cluster, target)))
    assert answer.unread == ()
    return next(one for one in answer.causes if one.topic is not Topic.OPERATOR)


def told(cause: Cause) -> str:
    return "\n".join(f"{one.thing}: {one.text}" for one in cause.evidence)


async def test_a_quota_and_a_pool_and_a_secret_that_are_not_there(
    driver: Driver, start_operator: StartOperator, control_plane: Access
) -> None:
    await driver.limit_pods(1, quota="small")
    driver.submit()
    driver.submit(metadata__name="pool", nodePool="moon")
    driver.submit(metadata__name="secret", artifacts__credentialsSecret="late")
    async with start_operator():
        await driver.phase("Pending", reason="CreationRefused")
        cause = first_cause(control_plane, driver)
        assert (cause.topic, cause.certainty) == (Topic.QUOTA, Certainty.CERTAIN)
        assert cause.text.startswith("ResourceQuota small is used up: a pod asks for pods=1")
        for name, reason in (("pool", "NodePoolUnknown"), ("secret", "SecretMissing")):
            await until(
                lambda name=name, reason=reason: (  # type: ignore[misc]
                    driver.condition("Accepted", name=name).get("reason") == reason
                ),
                what=reason,
            )
            cause = first_cause(control_plane, driver, name)
            assert (cause.topic, cause.section) == (Topic.NOT_ACCEPTED, reason)
            assert cause.certainty is Certainty.CERTAIN


async def test_a_workload_that_the_operator_made_and_its_queue_holds(
    driver: Driver, start_operator: StartOperator, control_plane: Access
) -> None:
    queue = Kueue(driver.api, driver.namespace)
    with kueue.served(control_plane):
        driver.api.create(
            f"{kueue.ROOT}/namespaces/{driver.namespace}/localqueues",
            {
                "apiVersion": f"{kueue.GROUP}/v1beta2",
                "kind": "LocalQueue",
                "metadata": {"name": "team-a"},
                "spec": {},
            },
        )
        async with start_operator():
            driver.submit(scheduling={"queue": "team-a"})
            await driver.phase("Pending", reason="Queued")
            await until(queue.exists, what="the Workload")
            assert first_cause(control_plane, driver).text.startswith("Kueue has not looked at")
            queue.refuse("insufficient unused quota")
            cause = first_cause(control_plane, driver)
            assert (cause.topic, cause.certainty) == (Topic.QUEUE, Certainty.CERTAIN)
            assert cause.text == "its queue has not admitted it: insufficient unused quota"
            assert "localqueue/team-a: place 1 of 1, counted" in told(cause)


async def test_pods_that_the_operator_made_and_how_they_end(
    driver: Driver, start_operator: StartOperator, control_plane: Access
) -> None:
    async with start_operator():
        driver.submit(runPolicy={"backoffSeconds": 0, "maxRestarts": 0})
        await until(lambda: len(driver.pods()) == 2, what="two pods")
        for name in ("demo-0-0", "demo-0-1"):
            driver.bind(name)
            scripted_pods.wait_in(
                driver.api,
                driver.namespace,
                name,
                reason="ImagePullBackOff",
                message="Back-off pulling image: manifest unknown",
            )
        cause = first_cause(control_plane, driver)
        assert (cause.topic, cause.certainty) == (Topic.IMAGE, Certainty.CERTAIN)
        assert cause.text.endswith("the registry has no such image")
        assert len(cause.evidence) == 2
        driver.run("demo-0-0", "demo-0-1")
        await driver.phase("Running")
        for name in ("demo-0-0", "demo-0-1"):
            scripted_pods.finish(
                driver.api, driver.namespace, name, exit_code=2, message="row 7: no image"
            )
        await driver.phase("Failed")
        connection = Connection(
            kubeconfig=str(control_plane.kubeconfig), namespace=driver.namespace
        )
        cluster = open_cluster(connection)
        (target,) = parse_job_names(["demo"])
        (cause,) = explain(read_facts(cluster, find_job(cluster, target))).causes
        assert cause.topic is Topic.FAILED
        assert cause.text.startswith("ApplicationError: container job of pod demo-0-")
        assert "container job ended with exit code 2 (Error)" in told(cause)
        assert "row 7: no image" in told(cause)
