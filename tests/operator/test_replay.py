"""An operator may have seen any prefix of what happened: it does nothing that is not due now."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest

from mmrlhf_api import Job
from mmrlhf_operator.acting.queues import Queues
from mmrlhf_operator.acting.reconciler import Reconciler
from mmrlhf_operator.errors import PostponeError, ServerError
from mmrlhf_operator.kube.api import Api
from mmrlhf_operator.kube.transport import ApiTransport, load_configuration
from mmrlhf_operator.state.pods import PodView
from mmrlhf_operator.state.progress import ProgressBoard
from mmrlhf_operator.state.store import Key, Store
from mmrlhf_operator.state.views import ConfigMapView, Finding, NetworkPolicyView, ServiceView
from mmrlhf_operator.state.workloads import WorkloadView
from tests.cluster.access import Access
from tests.operator import faults
from tests.operator.conftest import StartOperator
from tests.operator.driver import CONFIG, Driver, until
from tests.operator.life import live

pytestmark = pytest.mark.cluster


@dataclass
class Snapshot:
    """What the watches of an operator had seen at one moment; a `Store` of its own."""

    key: Key
    body: dict[str, Any]
    children: dict[str, Any] = field(default_factory=dict)

    def keys(self) -> Iterable[Key]:
        return [self.key]

    def job(self, key: Key) -> dict[str, Any] | None:
        return copy.deepcopy(self.body)

    def dependents(self, key: Key) -> Iterable[Key]:
        return []

    def pods(self, key: Key, uid: str) -> tuple[PodView, ...]:
        found: tuple[PodView, ...] = self.children["pods"]
        return found

    def service(self, key: Key, uid: str) -> ServiceView | None:
        found: ServiceView | None = self.children["service"]
        return found

    def config_map(self, key: Key, uid: str) -> ConfigMapView | None:
        found: ConfigMapView | None = self.children["config_map"]
        return found

    def network_policy(self, key: Key, uid: str) -> NetworkPolicyView | None:
        found: NetworkPolicyView | None = self.children["network_policy"]
        return found

    def workload(self, key: Key, uid: str) -> WorkloadView | None:
        return None


class Remembering:
    """Passes on what an operator's store says, and keeps every state of it."""

    def __init__(self, inner: Store) -> None:
        self._inner = inner
        self.seen: list[Snapshot] = []

    def keys(self) -> Iterable[Key]:
        return self._inner.keys()

    def job(self, key: Key) -> dict[str, Any] | None:
        body = self._inner.job(key)
        if body is not None:
            uid = body["metadata"]["uid"]
            children = {
                "pods": self._inner.pods(key, uid),
                "service": self._inner.service(key, uid),
                "config_map": self._inner.config_map(key, uid),
                "network_policy": self._inner.network_policy(key, uid),
            }
            snapshot = Snapshot(key, copy.deepcopy(body), children)
            if snapshot not in self.seen:
                self.seen.append(snapshot)
        return body

    def dependents(self, key: Key) -> Iterable[Key]:
        return self._inner.dependents(key)

    def pods(self, key: Key, uid: str) -> tuple[PodView, ...]:
        return self._inner.pods(key, uid)

    def service(self, key: Key, uid: str) -> ServiceView | None:
        return self._inner.service(key, uid)

    def config_map(self, key: Key, uid: str) -> ConfigMapView | None:
        return self._inner.config_map(key, uid)

    def network_policy(self, key: Key, uid: str) -> NetworkPolicyView | None:
        return self._inner.network_policy(key, uid)

    def workload(self, key: Key, uid: str) -> WorkloadView | None:
        return self._inner.workload(key, uid)


class NothingMissing:
    """Finds nothing in the way of any job."""

    async def check(self, job: Job) -> Finding | None:
        return None


async def _replay(access: Access, snapshot: Snapshot) -> list[tuple[str, int]]:
    """Reconcile from a snapshot until it wants nothing more; returns the writes that were made."""
    log: faults.Log = []
    api = Api(faults.Recorded(ApiTransport(await load_configuration(access.kubeconfig)), log))
    reconciler = Reconciler(
        api,
        snapshot,
        config=CONFIG,
        checker=NothingMissing(),
        board=ProgressBoard(),
        queues=Queues(api),
    )
    try:
        for _ in range(3):
            try:
                await reconciler.reconcile(snapshot.key)
            except ServerError as error:
                if not error.is_conflict:  # the server knows better
                    raise
            except PostponeError:
                continue
    finally:
        await api.close()
    return [(str(request), status) for request, status in log if request.writes]


def _version(job: dict[str, Any]) -> str:
    return str(job["metadata"]["resourceVersion"])


def _rest(snapshot: Snapshot) -> tuple[str | None, int | None]:
    status = snapshot.body.get("status", {})
    return status.get("phase"), status.get("attempt")


async def test_any_prefix_of_events_may_be_replayed_at_any_time(
    driver: Driver, start_operator: StartOperator, control_plane: Access
) -> None:
    async with start_operator() as running:
        reconciler = running.operator._reconciler
        store = Remembering(reconciler._store)
        reconciler._store = store

        async def rest() -> None:
            # The watch may bring in its own time what the operator itself has written.
            await until(
                lambda: any(
                    _version(snapshot.body) == _version(driver.job()) for snapshot in store.seen
                ),
                what="a look at the job as it is",
            )
            await running.idle()
            before = driver.job(), driver.objects(), sorted(driver.events())
            for snapshot in list(store.seen):
                writes = await _replay(control_plane, snapshot)
                assert not [write for write in writes if write[1] < 400], snapshot
            assert (driver.job(), driver.objects(), sorted(driver.events())) == before

        await live(driver, rest=rest)
        first = list(store.seen)
        # How many changes a look finds at once is the machine's matter; not where the job came to
        # rest, nor that its pods came one by one.
        assert {_rest(snapshot) for snapshot in first} >= {
            ("Running", 0),
            ("Running", 1),
            ("Suspended", 2),
            ("Running", 2),
            ("Succeeded", 2),
        }
        assert {len(snapshot.children["pods"]) for snapshot in first} >= {0, 2}

        # Another job of the same name: what was seen of the first one is nothing to it.
        driver.api.delete(driver.path())
        driver.submit(resources={"nodes": 1})
        await driver.pods_are("demo-0-0")
        driver.run()
        await driver.phase("Running")
        await running.idle()
        job, objects = driver.job(), driver.objects()
        for snapshot in first:
            writes = await _replay(control_plane, snapshot)
            assert not [write for write in writes if write[1] < 400], snapshot
        assert (driver.job(), driver.objects()) == (job, objects)
