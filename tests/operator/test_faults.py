"""Whatever the fault matrix lists happens to a job on a real API server, which ends as it says."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mmrlhf_api.constants import LABEL_JOB
from mmrlhf_api.pod import Toleration
from mmrlhf_api.termination import Ending
from mmrlhf_operator.errors import UnreachableError
from mmrlhf_operator.kube.transport import Request, Response, Transport
from mmrlhf_operator.state.store import Key
from tests.cluster import gpu_nodes, scripted_pods
from tests.cluster.api import Api
from tests.cluster.errors import ApiError
from tests.faults import FAULTS
from tests.operator import faults
from tests.operator.conftest import StartOperator
from tests.operator.driver import CONFIG, Driver, Running, until
from tests.operator.fault_walk import Life, Walk
from tests.operator.interference import Interference, interfered
from tests.patience import PATIENCE, pauses
from tests.unit.operator.strange_servers import Connection, answering, serving

pytestmark = pytest.mark.cluster

_ANY = Toleration.model_validate({"key": "mmrlhf.io/test", "operator": "Exists"})
CONFIG_HERE = CONFIG.model_copy(
    update={
        "sweep_seconds": 1.0,
        "deadlines": CONFIG.deadlines.model_copy(update={"image_pull": 3, "last_ranks": 5}),
        "node_pools": {
            **CONFIG.node_pools,
            **{
                pool: CONFIG.node_pools["h800"].model_copy(
                    update={"node_selector": {"pool": f"test-{pool}"}, "tolerations": (_ANY,)}
                )
                for pool in ("lost", "gone")
            },
        },
    }
)
_LATE = "late"
_HOOK = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
_AWAY = 2.0
_LAST_SECONDS = 30.0


class Slow(faults.Wrapped):
    """Requests about some jobs take their time, and now and then nobody answers at all."""

    def __init__(self, inner: Transport, *, about: str, seconds: float) -> None:
        super().__init__(inner)
        self.away = False
        self._about = about
        self._seconds = seconds

    async def send(self, request: Request, *, seconds: float) -> Response:
        if self._about in str(request):
            await asyncio.sleep(self._seconds)
        if self.away:
            raise UnreachableError(f"{request}: connection refused")
        return await super().send(request, seconds=seconds)


async def ends_with(
    life: Life, code: int, ending: Ending | None = None, message: str = "", **how: Any
) -> None:
    """The second pod ends badly, after the first one that blames its peer where both do."""
    await life.runs()
    said = json.dumps({"exitCode": code, "reason": ending, "message": message})
    await life.do(
        scripted_pods.finish, "0-1", exit_code=code, message=said if ending else "", **how
    )


async def restarts_after(life: Life, code: int, ending: Ending | None = None, **how: Any) -> None:
    await ends_with(life, code, ending, **how)
    await life.succeeds(1)


async def is_killed(life: Life) -> None:
    await life.runs()
    blames = json.dumps({"exitCode": 141, "reason": Ending.PEER_LOST, "message": "a peer is gone"})
    ends: dict[str, dict[str, Any]] = {
        "0-0": {"exit_code": 141, "message": blames},
        "0-1": {"exit_code": 137},
    }

    def end(api: Api, namespace: str, name: str) -> None:
        scripted_pods.finish(api, namespace, name, **ends[name.removeprefix(f"{life.name}-")])

    await life.do(end, *ends)
    await life.succeeds(1)


async def loses_a_pod(life: Life, act: Callable[..., None], **how: Any) -> None:
    await life.runs()
    await life.do(act, "0-1", **how)
    await life.succeeds(1)


async def is_preempted_twice(life: Life) -> None:
    await life.runs()
    await life.do(scripted_pods.evict, "0-1")
    await life.runs(1)
    await life.do(scripted_pods.evict, "1-0")
    await life.succeeds(2)


async def is_refused(life: Life) -> None:
    await life.bound()
    message = "Allocate failed due to no healthy devices present; cannot allocate"
    await life.do(scripted_pods.take, "0-1", reason="UnexpectedAdmissionError", message=message)
    await life.succeeds(1)


async def goes_over_its_limit(life: Life) -> None:
    await life.runs()
    message = 'Usage of EmptyDir volume "scratch" exceeds the limit "1Gi". '
    await life.do(scripted_pods.take, "0-1", reason="Evicted", message=message)


async def loses_its_node(life: Life) -> None:
    """Until the node is back, its kubelet stops nothing."""
    await life.runs()
    name, node = f"{life.name}-0-0", life.of(0)[0]["spec"]["nodeName"]
    life.walk.held.add(name)
    await asyncio.to_thread(gpu_nodes.set_ready, life.driver.api, node, status="Unknown")
    await life.shows("NodeLost")
    await asyncio.to_thread(gpu_nodes.set_ready, life.driver.api, node, status="True")
    life.walk.held.remove(name)
    await life.succeeds(1)


async def has_its_node_deleted(life: Life) -> None:
    """The cluster's garbage collector takes the pod away, after a minute that is not waited for."""
    await life.runs()
    node = life.of(0)[0]["spec"]["nodeName"]
    await asyncio.to_thread(gpu_nodes.delete, life.driver.api, node)
    await life.do(scripted_pods.vanish, "0-0")
    await life.succeeds(1)


async def has_no_image(life: Life) -> None:
    await life.bound()
    await life.do(
        scripted_pods.wait_in,
        *life.names(0),
        reason="ImagePullBackOff",
        message="no such image",
    )


async def waits_for_a_secret(life: Life) -> None:
    await life.shows("SecretMissing")
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    secrets = f"/api/v1/namespaces/{life.driver.namespace}/secrets"
    body = {"metadata": {"name": _LATE}, "stringData": keys}
    await asyncio.to_thread(life.driver.api.create, secrets, body)
    await life.succeeds()


async def stalls(life: Life, running: Running) -> None:
    await life.runs()
    key = Key("MMDPOJob", life.driver.namespace, life.name)
    running.operator.board.listening_since = datetime.now(UTC)
    running.operator.board.post(
        key,
        life.walk.jobs[life.name]["metadata"]["uid"],
        attempt=0,
        events=[{"event": "step", "step": 7, "totalSteps": 9}],
        at=datetime.now(UTC),
    )
    await life.edit(stallTimeoutSeconds=1)
    await life.shows("Stalled")
    await life.edit(stallTimeoutSeconds=3600)
    await life.succeeds(1)


async def has_one_rank_left(life: Life) -> None:
    await life.runs()
    await life.do(scripted_pods.finish, "0-1")
    await life.succeeds(1)


async def is_suspended_in_restart(life: Life) -> None:
    await ends_with(life, 137)
    await life.shows("Killed")
    await life.edit(suspend=True)
    await life.shows("SuspendedByUser")
    await life.edit(suspend=False, backoffSeconds=0)
    await life.until(lambda: life.status.get("phase") != "Suspended")
    await life.succeeds(life.status.get("attempt", 0))


async def is_deleted_in_start(life: Life) -> None:
    await life.bound()
    await asyncio.to_thread(life.driver.api.delete, life.driver.path(name=life.name))


async def has_a_sidecar(life: Life, *, crashed: bool) -> None:
    await life.runs()
    await life.do(scripted_pods.end_beside, *life.names(0), beside="mesh", crashed=crashed)


async def meets_a_webhook(life: Life) -> None:
    await life.until(lambda: "WriteFails" in _reasons(life))
    await asyncio.to_thread(life.driver.api.delete, f"{_HOOK}/{life.driver.namespace}")
    await life.succeeds()


async def is_held_by_a_finalizer(life: Life) -> None:
    await life.runs()
    path = f"/api/v1/namespaces/{life.driver.namespace}/pods/{life.name}-0-1"
    held = {"metadata": {"finalizers": ["example.org/held"]}}
    await asyncio.to_thread(life.driver.api.patch, path, held)
    await life.do(scripted_pods.finish, *life.names(0), exit_code=137)
    await life.shows("PodsRemain")
    await asyncio.to_thread(life.driver.api.patch, path, {"metadata": {"finalizers": []}})
    await life.succeeds(1)


async def outlives_the_server(life: Life, transports: list[Slow], watches: Interference) -> None:
    await life.runs()
    with watches.away():
        transports[0].away = True
        await life.do(scripted_pods.finish, *life.names(0))
        await asyncio.sleep(_AWAY)
        transports[0].away = False


async def loses_its_namespace(life: Life) -> None:
    await life.runs()
    namespace = f"/api/v1/namespaces/{life.driver.namespace}"
    await asyncio.to_thread(life.driver.api.delete, namespace)


def _reasons(life: Life) -> set[str]:
    return {entry["reason"] for entry in life.status.get("conditions", ())}


class Store:
    """A store that answers badly until it is mended."""

    def __init__(self, bad: Callable[[Connection], None]) -> None:
        self._bad = bad
        self.mended = False

    def answer(self, connection: Connection) -> None:
        (answering("200 OK") if self.mended else self._bad)(connection)


async def meets_a_store(life: Life, store: Store, reason: str) -> None:
    await life.shows(reason)
    store.mended = True
    await life.succeeds()


@asynccontextmanager
async def surroundings(driver: Driver) -> AsyncIterator[dict[str, Store]]:
    """What the faults need: nodes that may be lost, stores by row, and a webhook."""
    api, namespace = driver.api, driver.namespace
    with ExitStack() as stack:
        taint = {"key": "mmrlhf.io/test", "effect": "NoSchedule"}
        for pool in ("lost", "gone"):
            names = [f"{pool}-{number}-{namespace}" for number in range(2)]
            stack.enter_context(
                gpu_nodes.gpu_nodes(api, names, labels={"pool": f"test-{pool}"}, taints=[taint])
            )
        there = stack.enter_context(serving(answering("200 OK")))
        moved = answering("307 Temporary Redirect", Location=f"{there.endpoint}/elsewhere")
        stores = {
            "store-fails": Store(answering("500 Internal Server Error")),
            "store-denies": Store(answering("403 Forbidden")),
            "store-redirects": Store(moved),
            "store-is-slow": Store(lambda connection: connection.wait_for_end()),
        }
        keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
        secrets = f"/api/v1/namespaces/{namespace}/secrets"
        api.create(secrets, {"metadata": {"name": "keys"}, "stringData": keys})
        for name, store in stores.items():
            server = stack.enter_context(serving(store.answer))
            artifacts = {"uri": "s3://b/x", "endpoint": server.endpoint}
            driver.submit(
                metadata__name=name,
                runPolicy={"backoffSeconds": 0},
                artifacts={**artifacts, "credentialsSecret": "keys"},
            )
        stack.callback(api.delete, f"{_HOOK}/{namespace}")
        api.create(_HOOK, _webhook(namespace))
        await until(lambda: _refuses_pods(driver), what="a server that asks the webhook")
        yield stores


def _refuses_pods(driver: Driver) -> bool:
    metadata = {"name": "probe", "labels": {LABEL_JOB: "webhook-down"}}
    pod = {"metadata": metadata, "spec": {"containers": [{"name": "x", "image": "x"}]}}
    try:
        driver.api.create(f"/api/v1/namespaces/{driver.namespace}/pods", pod, dry_run=True)
    except ApiError as error:
        return "failed calling webhook" in str(error)
    return False


def _webhook(namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": namespace},
        "webhooks": [
            {
                "name": "pods.example.org",
                "clientConfig": {"url": "https://127.0.0.1:1/"},
                "rules": [
                    {
                        "apiGroups": [""],
                        "apiVersions": ["v1"],
                        "operations": ["CREATE"],
                        "resources": ["pods"],
                    }
                ],
                "objectSelector": {"matchLabels": {LABEL_JOB: "webhook-down"}},
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "timeoutSeconds": 5,
            }
        ],
    }


async def test_every_fault_ends_as_the_matrix_says(
    driver: Driver, start_operator: StartOperator
) -> None:
    walk = Walk(driver)
    transports: list[Slow] = []

    def slow(inner: Transport) -> Transport:
        transports.append(Slow(inner, about="server-restarts", seconds=0.3))
        return transports[-1]

    def life(name: str, **changes: Any) -> Life:
        one = Life(walk, name)
        one.submit(**changes)
        return one

    alone = {"resources__nodes": 1}
    async with (
        surroundings(driver) as stores,
        interfered(driver.api) as watches,
        start_operator(slow, config=CONFIG_HERE, watch_at=watches.url) as running,
        walk.watched(),
    ):
        acts: dict[str, Awaitable[None]] = {
            "exits": ends_with(life("exits"), 1),
            "bad-input": ends_with(
                life("bad-input"), 2, Ending.INVALID_INPUT, "train.jsonl, row 3"
            ),
            "out-of-memory": ends_with(life("out-of-memory"), 137, reason="OOMKilled"),
            "killed": is_killed(life("killed")),
            "terminated": restarts_after(life("terminated"), 143, Ending.INTERRUPTED),
            "deleted": loses_a_pod(life("deleted"), scripted_pods.vanish),
            "preempted-twice": is_preempted_twice(
                life("preempted-twice", runPolicy={"maxRestarts": 0})
            ),
            "node-not-ready": loses_its_node(life("node-not-ready", nodePool="lost", **alone)),
            "node-deleted": has_its_node_deleted(life("node-deleted", nodePool="gone", **alone)),
            "node-shut-down": loses_a_pod(
                life("node-shut-down"),
                scripted_pods.take,
                reason="Terminated",
                message="Pod was terminated in response to imminent node shutdown.",
            ),
            "disk-pressure": loses_a_pod(
                life("disk-pressure"),
                scripted_pods.take,
                reason="Evicted",
                message="The node was low on resource: ephemeral-storage. ",
            ),
            "node-refuses": is_refused(life("node-refuses")),
            "over-its-limit": goes_over_its_limit(life("over-its-limit")),
            "disk-full": ends_with(
                life("disk-full"), 1, Ending.STORAGE_FULL, "disk full: cannot write /shared/x"
            ),
            "image-missing": has_no_image(life("image-missing")),
            "secret-missing": waits_for_a_secret(
                life("secret-missing", artifacts__credentialsSecret=_LATE)
            ),
            "name-late": restarts_after(
                life("name-late"),
                141,
                Ending.PEER_LOST,
                message="node 0 was not ready: its name does not resolve",
            ),
            "store-away": restarts_after(
                life("store-away"),
                157,
                Ending.STORAGE_UNAVAILABLE,
                message="https://s3.example.test is away",
            ),
            "stalls": stalls(life("stalls"), running),
            "hangs": restarts_after(
                life("hangs"), 142, Ending.STALLED, message="rank 1 stands still in step 7"
            ),
            "rank-gone": has_one_rank_left(life("rank-gone")),
            "node-clock": restarts_after(life("node-clock"), 137, ahead=timedelta(hours=1)),
            "suspended-in-restart": is_suspended_in_restart(
                life("suspended-in-restart", runPolicy={"backoffSeconds": 600})
            ),
            "deleted-in-start": is_deleted_in_start(life("deleted-in-start")),
            "sidecar-runs-on": has_a_sidecar(life("sidecar-runs-on"), crashed=False),
            "sidecar-crashes": has_a_sidecar(life("sidecar-crashes"), crashed=True),
            "webhook-down": meets_a_webhook(life("webhook-down")),
            "finalizer": is_held_by_a_finalizer(life("finalizer")),
        }
        for name, store in stores.items():
            denied = name == "store-denies"
            reason = "StorageDenied" if denied else "StorageUnreachable"
            acts[name] = meets_a_store(Life(walk, name), store, reason)
        # These two happen to all that is there, so they come last.
        late = [life(name) for name in ("server-restarts", "namespace-deleted")]
        assert {*acts, *(one.name for one in late)} == {fault.name for fault in FAULTS}
        async with asyncio.TaskGroup() as group:
            for act in acts.values():
                group.create_task(_awaited(act))
        await outlives_the_server(late[0], transports, watches)
        await late[1].runs()
        await _ends_so(walk, running, besides={"namespace-deleted"})
        # Services of jobs that have ended count in quotas, and go.
        left = {driver.job(name=late[1].name)["metadata"]["uid"]}
        await until(lambda: driver.owners("services") == left, what="one Service")
        await loses_its_namespace(late[1])
        await walk.until(lambda: not walk.jobs and not any(walk.pods.values()), lambda: walk.jobs)
        await running.idle()
        assert not running.task.done()


async def _awaited(act: Awaitable[None]) -> None:
    await act


async def _ends_so(walk: Walk, running: Running, *, besides: set[str]) -> None:
    """Wait until all is as the matrix says, and see that it stays so."""
    deadline = time.monotonic() + _LAST_SECONDS * PATIENCE

    async def differences() -> str:
        found = await asyncio.to_thread(walk.outcomes)
        return "\n".join(
            f"{fault.name}: {key} {getattr(found[fault.name], key)}, not {wanted}"
            for fault in FAULTS
            for key, wanted in asdict(fault).items()
            if fault.name not in besides and getattr(found[fault.name], key) != wanted
        )

    for pause in pauses(most=2.0):
        if not await differences() or time.monotonic() > deadline:
            break
        await asyncio.sleep(pause)
    await running.idle()
    left = await differences()
    assert not left, left
