"""What a test does to jobs, and what it waits for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from mmrlhf_api import KINDS
from mmrlhf_api.constants import API_VERSION, LABEL_ATTEMPT, LABEL_JOB, LABEL_KIND
from mmrlhf_operator.config import OperatorConfig
from mmrlhf_operator.operator import Operator
from mmrlhf_operator.state.watches import CHILDREN
from tests.cluster import scripted_pods
from tests.cluster.api import Api
from tests.cluster.errors import ApiError
from tests.cluster.wait import wait_until
from tests.patience import PATIENCE, pauses
from tests.unit.api.specimens import changed

CONFIG = OperatorConfig.model_validate(
    {
        "images": dict.fromkeys(KINDS, "example.test/train:1"),
        "nodePools": {"h800": {"nodeSelector": {"pool": "h800"}}},
        # Nothing may depend on it: an event that was overheard must show.
        "resyncSeconds": 3600.0,
        "retrySeconds": 0.05,
        "maxRetrySeconds": 0.5,
        "progressSeconds": 0.5,
        # Stores of tests are on this machine.
        "preflight": {"addresses": ["127.0.0.0/8"]},
        "deadlines": {"settle": 2, "lostNode": 1, "preflight": 10.0, "request": 5.0},
    }
)

IMPATIENT = CONFIG.model_copy(update={"max_retry_seconds": 0.1})
"""For lives in which every request fails: they were spent on waiting half a second each time."""


@dataclass
class Running:
    """An operator that runs."""

    operator: Operator
    task: asyncio.Task[None]

    async def idle(self) -> None:
        """Wait until the operator has nothing to do just now."""
        await until(lambda: self.operator.queue.is_idle, what="an idle queue")


@asynccontextmanager
async def operating(operator: Operator) -> AsyncIterator[Running]:
    """Let an operator run; what ended it before it was told to is raised."""
    ready = asyncio.Event()
    task = asyncio.create_task(operator.run(ready=ready))
    first = asyncio.create_task(ready.wait())
    try:
        await asyncio.wait({task, first}, return_when=asyncio.FIRST_COMPLETED)
        yield Running(operator, task)
    finally:
        first.cancel()
        task.cancel()
        results = await asyncio.gather(task, return_exceptions=True)
        error = results[0]
        if isinstance(error, BaseException) and not isinstance(error, asyncio.CancelledError):
            raise error


class Driver:
    """Does things in one namespace."""

    def __init__(self, api: Api, namespace: str, *, node: str) -> None:
        self.api = api
        self.node = node
        self.namespace = namespace

    def path(self, kind: str = "MMDPOJob", name: str = "demo") -> str:
        plural = KINDS[kind].plural
        return f"/apis/{API_VERSION}/namespaces/{self.namespace}/{plural}/{name}"

    def submit(self, kind: str = "MMDPOJob", /, **changes: Any) -> dict[str, Any]:
        body = changed(
            kind,
            **{
                "artifacts__uri": "/shared/runs",
                "resources": {"nodes": 2, "cpu": "10m", "memory": "8Mi", "sharedMemory": "1Mi"},
                **changes,
            },
        )
        return self.api.create(self.path(kind, "").rstrip("/"), body)

    def quota_path(self, quota: str) -> str:
        return f"/api/v1/namespaces/{self.namespace}/resourcequotas/{quota}"

    async def limit_pods(self, most: int, *, quota: str) -> None:
        """Make a quota, and wait until the server goes by it: that is later than its status says.

        It allows no claims of volumes, which nothing here makes, so that one that is refused shows.
        """
        hard = {"pods": str(most), "persistentvolumeclaims": "0"}
        path = self.quota_path(quota)
        body = {"metadata": {"name": quota}, "spec": {"hard": hard}}
        self.api.create(path.removesuffix(f"/{quota}"), body)
        await until(lambda: self.api.get(path).get("status", {}).get("hard"), what="the quota")
        await until(self._refuses_claims, what="a server that goes by the quota")

    def _refuses_claims(self) -> bool:
        spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1"}}}
        claim = {"metadata": {"name": "probe"}, "spec": spec}
        claims = f"/api/v1/namespaces/{self.namespace}/persistentvolumeclaims"
        try:
            self.api.create(claims, claim, dry_run=True)
        except ApiError as error:
            if "exceeded quota" not in str(error):
                raise
            return True
        return False

    def edit(self, kind: str = "MMDPOJob", /, **spec: Any) -> None:
        self.api.patch(self.path(kind), {"spec": spec})

    def job(self, kind: str = "MMDPOJob", name: str = "demo") -> dict[str, Any]:
        return self.api.get(self.path(kind, name))

    def jobs(self, kind: str = "MMDPOJob") -> list[str]:
        items = self.api.get(self.path(kind, "").rstrip("/"))["items"]
        return sorted(item["metadata"]["name"] for item in items)

    def status(self, kind: str = "MMDPOJob", name: str = "demo") -> dict[str, Any]:
        status: dict[str, Any] = self.job(kind, name).get("status", {})
        return status

    def condition(self, type_: str, kind: str = "MMDPOJob", name: str = "demo") -> dict[str, Any]:
        conditions = self.status(kind, name).get("conditions", ())
        return next((entry for entry in conditions if entry["type"] == type_), {})

    def pods(self) -> list[str]:
        """Pods, but for those of a failed attempt that have ended and stay for their logs."""
        path = f"/api/v1/namespaces/{self.namespace}/pods"
        items = self.api.get(path, labelSelector=LABEL_JOB)["items"]
        latest: dict[tuple[str, str], int] = {}
        for item in items:
            owner = _owner(item)
            latest[owner] = max(latest.get(owner, 0), _attempt(item))
        return sorted(
            item["metadata"]["name"]
            for item in items
            if _attempt(item) == latest[_owner(item)]
            or item["status"].get("phase") not in {"Succeeded", "Failed"}
            or item["metadata"].get("finalizers")
        )

    def all_pods(self) -> list[str]:
        return self._names("/api/v1", "pods")

    def objects(self) -> list[str]:
        """Everything that operators made here, as kind and name."""
        found = [
            f"{plural}/{name}"
            for plural, child in CHILDREN.items()
            if not child.optional or self.api.exists(child.root)
            for name in self._names(child.root, plural)
        ]
        return sorted(found)

    def owners(self, plural: str) -> set[str]:
        path = f"/api/v1/namespaces/{self.namespace}/{plural}"
        items = self.api.get(path, labelSelector=LABEL_JOB)["items"]
        return {item["metadata"]["ownerReferences"][0]["uid"] for item in items}

    def ended(self, pod: str) -> bool:
        """Whether a pod is gone or on its way."""
        path = f"/api/v1/namespaces/{self.namespace}/pods/{pod}"
        return not self.api.exists(path) or "deletionTimestamp" in self.api.get(path)["metadata"]

    def events(self, name: str = "demo") -> list[tuple[str, str]]:
        """What was told of a job, as type and reason, oldest first."""
        listed = self.api.get(f"/api/v1/namespaces/{self.namespace}/events")["items"]
        ours = [
            event
            for event in listed
            if event["involvedObject"]["kind"] in KINDS and event["involvedObject"]["name"] == name
        ]
        return [(e["type"], e["reason"]) for e in sorted(ours, key=_created)]

    def run(self, *names: str) -> None:
        for name in names or tuple(self.pods()):
            self.bind(name)
            scripted_pods.run(self.api, self.namespace, name)

    def bind(self, name: str) -> None:
        """Wait for the scheduler."""
        path = f"/api/v1/namespaces/{self.namespace}/pods/{name}"
        wait_until(
            lambda: self.api.get(path)["spec"].get("nodeName"), timeout=15, what=f"{name}'s node"
        )

    def finish(self, name: str, exit_code: int = 0, **how: Any) -> None:
        scripted_pods.finish(self.api, self.namespace, name, exit_code=exit_code, **how)

    def vanish(self) -> None:
        """Kubelets finish what is being deleted."""
        path = f"/api/v1/namespaces/{self.namespace}/pods"
        for pod in self.api.get(path)["items"]:
            if "deletionTimestamp" in pod["metadata"]:
                scripted_pods.vanish(self.api, self.namespace, pod["metadata"]["name"])

    def left(self) -> list[str]:
        """Pods that there are once kubelets have finished what is being deleted."""
        self.vanish()
        return self.pods()

    async def phase(
        self,
        phase: str,
        kind: str = "MMDPOJob",
        *,
        reason: str | None = None,
        seconds: float = 15.0,
    ) -> None:
        def there() -> bool:
            status = self.status(kind)
            return status.get("phase") == phase and reason in {None, status.get("reason")}

        await until(
            there,
            what=lambda: f"{phase} {reason or ''}, not {self.status(kind)}",
            seconds=seconds,
        )

    async def pods_are(self, *names: str) -> None:
        await until(
            lambda: self.pods() == sorted(names), what=lambda: f"pods {names}, not {self.pods()}"
        )

    def _names(self, root: str, plural: str) -> list[str]:
        path = f"{root}/namespaces/{self.namespace}/{plural}"
        return sorted(
            item["metadata"]["name"]
            for item in self.api.get(path, labelSelector=LABEL_JOB)["items"]
        )


async def until(
    condition: Callable[[], object], *, what: str | Callable[[], str], seconds: float = 15.0
) -> None:
    """Wait for something that the operator, in this very event loop, brings about."""
    deadline = time.monotonic() + seconds * PATIENCE
    for pause in pauses():
        if await asyncio.to_thread(condition):
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"waited in vain for {what if isinstance(what, str) else what()}")
        await asyncio.sleep(pause)


async def until_disconnected() -> None:
    """Wait for the end of connections over TLS: some turns of the loop after they were closed."""
    transports = asyncio.get_running_loop()._transports  # type: ignore[attr-defined]

    def alive() -> list[object]:
        return [entry for entry in list(transports.values()) if entry._sock is not None]

    await until(lambda: not alive(), what=lambda: f"the end of {alive()}")


def _owner(pod: dict[str, Any]) -> tuple[str, str]:
    labels = pod["metadata"]["labels"]
    return labels.get(LABEL_KIND, ""), labels[LABEL_JOB]


def _attempt(pod: dict[str, Any]) -> int:
    return int(pod["metadata"]["labels"].get(LABEL_ATTEMPT, 0))


def _created(event: dict[str, Any]) -> tuple[str, str]:
    metadata = event["metadata"]
    return metadata["creationTimestamp"], metadata["resourceVersion"].zfill(20)
