"""The operator with the rights that it is installed with: none is missing, none is idle."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from kubernetes.aio import client

from mmrlhf_api import KINDS
from mmrlhf_operator.config import OperatorConfig
from mmrlhf_operator.installation.access import GRANTS, Scope
from mmrlhf_operator.kube.api import Api as OperatorApi
from mmrlhf_operator.kube.lease import Lease
from mmrlhf_operator.kube.transport import ApiTransport, MeteredTransport
from mmrlhf_operator.metrics import Metrics
from mmrlhf_operator.operator import Operator
from mmrlhf_operator.rendering.volumes import AUDIENCE
from tests.cluster.access import Access
from tests.operator.accounts import installed_account
from tests.operator.driver import CONFIG, Driver, until
from tests.operator.life import live
from tests.operator.recording import Recording, Right, recorded
from tests.operator.run_driver import RunDriver
from tests.operator.sweep_driver import KIND, SweepDriver
from tests.ports import free_port
from tests.unit.api.specimens import changed

pytestmark = pytest.mark.cluster


def granted(*scopes: Scope) -> set[Right]:
    return {
        Right(grant.group, resource, verb)
        for grant in GRANTS
        if grant.scope in scopes and grant.provider is None
        for resource in grant.resources
        for verb in grant.verbs
    }


@pytest.mark.parametrize("everywhere", [True, False], ids=["cluster", "namespace"])
async def test_rights_granted_are_rights_used(
    everywhere: bool, driver: Driver, control_plane: Access, kube_namespace: str
) -> None:
    if everywhere and not control_plane.is_ours:
        pytest.skip("an operator for all namespaces would meet the jobs of others")
    async with installed(control_plane, kube_namespace, cluster=everywhere) as recording:
        address = f"127.0.0.1:{free_port()}"
        config = CONFIG.model_copy(
            update={
                "namespaces": () if everywhere else (kube_namespace,),
                "progress_url": f"http://{address}" if everywhere else None,
                "progress_address": address,
                "resync_seconds": 2.0,
            }
        )
        await do_everything(driver, recording, config)
    scopes = (Scope.JOBS, Scope.OWN, Scope.CLUSTER) if everywhere else (Scope.JOBS, Scope.OWN)
    if everywhere:
        # Jobs that tests before this one left go with their namespaces.
        assert [line for line in recording.refused if "NamespaceTerminating" not in line] == []
    else:  # whether a node is lost is asked, and done without
        assert {line.split(":")[0].rpartition("/")[0] for line in recording.refused} == {
            "GET /api/v1/nodes"
        }
        recording.used.discard(Right("", "nodes", "get"))
    assert recording.used == granted(*scopes)


@asynccontextmanager
async def installed(
    control_plane: Access, namespace: str, *, cluster: bool
) -> AsyncIterator[Recording]:
    """The account, roles and bindings; what is recorded is asked in their name."""
    api = control_plane.api
    with installed_account(api, namespace, cluster=cluster) as tokens:
        token = api.create(tokens, {"spec": {}})["status"]["token"]
        bearer = api.with_token(token)  # without the administrator's certificate
        async with recorded(bearer.server, token, bearer.tls) as recording:
            yield recording


async def do_everything(
    driver: Driver,
    recording: Recording,
    config: OperatorConfig,
    *,
    metrics: Metrics | None = None,
    troubled: bool = False,
) -> None:
    """Bring the operator to do all that it ever does.

    Args:
        driver: Its namespace.
        recording: The way to the API server.
        config: Its configuration.
        metrics: What it measures.
        troubled: Requests are refused for a while.
    """
    configuration = client.Configuration()
    configuration.host = recording.url
    metrics = metrics or Metrics()
    api = OperatorApi(MeteredTransport(ApiTransport(configuration), metrics.asked))
    lease = Lease(
        api,
        namespace=driver.namespace,
        name=config.leader_election.name,
        identity="test",
        duration=15,
    )
    for _ in range(2):
        while not await lease.try_and_tell():
            assert troubled
            await asyncio.sleep(0.1)
    await lease.release()
    await api.close()
    # Its clock is fast, so that nobody waits for a pod to have waited for long.
    operator = Operator(
        configuration,
        config,
        clock=lambda: datetime.now(UTC) + timedelta(seconds=60),
        metrics=metrics,
    )
    ready = asyncio.Event()
    task = asyncio.create_task(operator.run(ready=ready))
    try:
        await until(ready.is_set, what="the operator")
        if troubled:  # events are dropped meanwhile, and a Secret is not looked up
            secrets = {"podTemplate": {"imagePullSecrets": ["unseen"]}}
            await one_attempt(driver, "MMDPOJob", **secrets)
        await live(driver, troubled=troubled)
        for kind in sorted(KINDS.keys() - {"MMDPOJob"}):
            await one_attempt(driver, kind)
        await a_run(driver)
        await a_sweep(driver)
        await a_job_in_trouble(driver, recording)
        if config.progress_url is not None:
            await report_progress(driver, config)
        driver.edit(runPolicy={"ttlSecondsAfterFinished": 1})
        await until(lambda: not driver.api.exists(driver.path()), what="the end of its time")
        await asyncio.sleep(config.resync_seconds * 1.2)  # the watchdog looks
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def one_attempt(driver: Driver, kind: str, **spec: Any) -> None:
    """Run a job of another kind to its end, and to the end of its time."""
    name = kind.lower()
    size = {"nodes": 1, "cpu": "10m", "memory": "8Mi", "sharedMemory": "1Mi"}
    policy = {"ttlSecondsAfterFinished": 1}
    driver.submit(kind, metadata__name=name, runPolicy=policy, resources=size, **spec)
    await until(lambda: f"{name}-0-0" in driver.pods(), what=f"the pod of {name}")
    driver.run(f"{name}-0-0")
    driver.finish(f"{name}-0-0")
    await until(lambda: not driver.api.exists(driver.path(kind, name)), what=f"{name}'s end")


async def a_run(driver: Driver) -> None:
    """Make a job of each kind for a run, stop them, let them go on, cancel them; and a pipeline."""
    runs = RunDriver(driver)
    size = {"resources": {"cpu": "10m", "memory": "8Mi", "sharedMemory": "1Mi"}}
    steps: list[dict[str, Any]] = [
        {"name": kind.lower(), "kind": kind, "spec": {**changed(kind)["spec"], **size}}
        for kind in KINDS
    ]
    for step in steps:
        step["spec"]["artifacts"] = {"uri": "/shared/runs"}
    await a_schedule(runs, steps)
    runs.submit(steps=steps, parameters=[])

    def stopped() -> set[bool]:
        jobs = (driver.job(kind, f"r-{kind.lower()}") for kind in KINDS)
        return {job["spec"].get("runPolicy", {}).get("suspend", False) for job in jobs}

    await until(lambda: set(runs.phases().values()) == {"Running"}, what="jobs of a run")
    runs.edit(suspend=True)
    await until(lambda: stopped() == {True}, what="jobs that stop with their run")
    runs.edit(suspend=False)
    await until(lambda: stopped() == {False}, what="jobs that go on with their run")
    runs.edit(cancel=True)
    await runs.ends("Failed")
    runs.api.delete(runs.path("r"))
    await until(
        lambda: not [pod for pod in driver.left() if pod.startswith("r-")],
        what="no pods of it",
        seconds=60,
    )


async def a_sweep(driver: Driver) -> None:
    """Make a job for a sweep, and cancel both."""
    sweeps = SweepDriver(driver)
    sweeps.sweep(parallelism=1, earlyStop=None)
    await sweeps.runs("t-00")
    sweeps.change(cancel=True)
    await sweeps.points_are("Failed", "Skipped", "Skipped")
    sweeps.api.delete(sweeps.path("t", "Sweep"))
    await until(lambda: not driver.jobs(KIND), what="no jobs of it", seconds=60)


async def a_schedule(runs: RunDriver, steps: list[dict[str, Any]]) -> None:
    """Let a pipeline start a run in the place of another one, and delete that."""
    schedule = {
        "cron": "* * * * *",
        "concurrencyPolicy": "Replace",
        "failedRunsHistoryLimit": 0,
    }
    body: dict[str, Any] = {
        "apiVersion": "mmrlhf.io/v1alpha1",
        "kind": "AlignmentPipeline",
        "metadata": {"name": "weekly"},
        "spec": {"steps": steps[:1], "schedule": schedule, "suspend": True},
    }
    there = runs.api.create(runs.path(kind="AlignmentPipeline"), body)
    owner = {
        **{key: there[key] for key in ("apiVersion", "kind")},
        **{key: there["metadata"][key] for key in ("name", "uid")},
        "controller": True,
    }
    run = {
        "apiVersion": "mmrlhf.io/v1alpha1",
        "kind": "AlignmentRun",
        "metadata": {
            "name": "weekly-1",
            "labels": {"mmrlhf.io/pipeline": "weekly"},
            "ownerReferences": [owner],
        },
        "spec": {"pipeline": "weekly", "steps": steps[:1]},
    }
    runs.api.create(runs.path(), run)
    await until(lambda: runs.status("weekly-1").get("phase") == "Running", what="a run by hand")
    runs.api.patch(runs.path("weekly", "AlignmentPipeline"), {"spec": {"suspend": False}})
    await until(
        lambda: not runs.api.exists(runs.path("weekly-1")),
        what="the end of what is replaced",
        seconds=60,
    )
    await until(lambda: runs.api.get(runs.path())["items"], what="what replaces it", seconds=60)
    runs.api.delete(runs.path("weekly", "AlignmentPipeline"))
    await until(
        lambda: not [pod for pod in runs.driver.left() if pod.startswith("weekly-")],
        what="no pods of it",
        seconds=60,
    )


async def a_job_in_trouble(driver: Driver, recording: Recording) -> None:
    """Its Secret is late, its names are taken, its pod waits without saying why."""
    path = f"/api/v1/namespaces/{driver.namespace}"
    policies = f"/apis/networking.k8s.io/v1/namespaces/{driver.namespace}/networkpolicies"
    taken: dict[str, dict[str, Any]] = {
        f"{path}/configmaps": {},
        f"{path}/services": {"spec": {"clusterIP": "None", "selector": {"a": "b"}}},
        policies: {"spec": {"podSelector": {"matchLabels": {"a": "b"}}}},
    }
    for where, body in taken.items():
        driver.api.create(where, {"metadata": {"name": "mmdpo-late"}, **body})
    driver.submit(metadata__name="late", podTemplate={"imagePullSecrets": ["late"]})
    await until(
        lambda: driver.condition("Accepted", name="late").get("reason") == "SecretMissing",
        what="the missing Secret",
    )
    driver.api.create(f"{path}/secrets", {"metadata": {"name": "late"}})
    await until(  # it looks again by itself; from 1.25 on, no edit can hurry it
        lambda: driver.condition("Accepted", name="late").get("reason") == "NameConflict",
        what="the conflict",
        seconds=60,
    )
    for where in taken:
        driver.api.delete(f"{where}/mmdpo-late")
    await until(lambda: "late-0-1" in driver.pods(), what="the pods", seconds=30)
    asked = Right("", "events", "list")
    await until(lambda: asked in recording.used, what="the question why they wait", seconds=60)
    driver.api.delete(driver.path(name="late"))


async def report_progress(driver: Driver, config: OperatorConfig) -> None:
    """Rank 0 of a job shows who it is; a pod tries again where it is told to.

    That is in trouble, and until the operator has written down which pod it has made.
    """
    driver.submit(metadata__name="told")
    await until(lambda: "told-0-0" in driver.pods(), what="a pod")
    account = f"/api/v1/namespaces/{driver.namespace}/serviceaccounts/default/token"
    pod = driver.api.get(f"/api/v1/namespaces/{driver.namespace}/pods/told-0-0")
    bound = {"kind": "Pod", "apiVersion": "v1", "name": "told-0-0", "uid": pod["metadata"]["uid"]}
    spec = {"audiences": [AUDIENCE], "boundObjectRef": bound}
    issued = await asyncio.to_thread(driver.api.create, account, {"spec": spec})
    url = f"{config.progress_url}/v1/progress"
    headers = {"Authorization": f"Bearer {issued['status']['token']}"}
    answers = list[tuple[int, str]]()
    async with aiohttp.ClientSession() as session:
        while not answers or answers[-1][0] == 503:
            async with session.post(url, json={"events": []}, headers=headers) as answer:
                answers.append((answer.status, await answer.text()))
            await asyncio.sleep(0.1)
    assert answers[-1] == (204, "")
    driver.api.delete(driver.path(name="told"))
