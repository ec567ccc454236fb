"""Many jobs at once, to each of which something happens, and the eyes and hands of those who do it.

All look at the server through one pair of eyes: what a look costs does not grow with the jobs.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

from mmrlhf_api.constants import LABEL_JOB
from tests.cluster import scripted_pods
from tests.faults import FAULTS, Fault
from tests.operator.driver import Driver
from tests.patience import PATIENCE

SECONDS = 60.0
"""Waits, on an idle machine; looks of the operator are up to twenty seconds apart."""
_PAUSE = 0.7


class Walk:
    """One namespace, in which faults happen.

    Attributes:
        driver: Does things there.
        held: Pods whose kubelets are silent.
        jobs: All jobs as they were last seen, by name.
        pods: Their pods, by job and what follows the job's name.
    """

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.held: set[str] = set()
        self.jobs: dict[str, dict[str, Any]] = {}
        self.pods: defaultdict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
        self._going: set[str] = set()
        self._seen = asyncio.Event()

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Look at the server again and again within the block."""
        looks = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            looks.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await looks

    async def until(self, condition: Callable[[], object], what: Callable[[], object]) -> None:
        """Wait for something that a look shows."""
        deadline = time.monotonic() + SECONDS * PATIENCE
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain: {what()}"
            await self._seen.wait()

    def outcomes(self) -> dict[str, Fault]:
        """How the job of each row is now, as a row of the matrix."""
        told: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        for event in self.driver.api.get(f"{self._folder()}/events")["items"]:
            if event["involvedObject"]["kind"] == "MMDPOJob":
                told[event["involvedObject"]["name"]].append(event)
        return {fault.name: self._outcome(fault, told[fault.name]) for fault in FAULTS}

    def _outcome(self, fault: Fault, events: Iterable[dict[str, Any]]) -> Fault:
        status = self.jobs.get(fault.name, {}).get("status", {})
        warnings = [event for event in events if event["type"] == "Warning"]
        said = [event["message"] for event in warnings]
        shown = tuple(sorted({event["reason"] for event in warnings}))
        return Fault(
            name=fault.name,
            what=fault.what,
            shown=fault.shown if shown == fault.or_shown else shown,
            or_shown=fault.or_shown,
            says=fault.says if any(fault.says in words for words in ("", *said)) else str(said),
            phase=status.get("phase", ""),
            reason=status.get("reason", ""),
            restarts=status.get("restarts", 0),
            free=status.get("freeRestarts", 0),
            pods=tuple(sorted(self.pods[fault.name])),
            also=fault.also,
        )

    async def _watch(self) -> None:
        while True:
            await asyncio.to_thread(self._look)
            self._seen.set()
            self._seen = asyncio.Event()
            await asyncio.sleep(_PAUSE)

    def _look(self) -> None:
        """Look once; a pod that was going at the last look too is gone then.

        So whatever a job says while it waits for pods to go is seen at least once.
        """
        driver = self.driver
        jobs = driver.api.get(driver.path(name="").rstrip("/"))["items"]
        pods: defaultdict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
        going = set()
        for pod in driver.api.get(f"{self._folder()}/pods", labelSelector=LABEL_JOB)["items"]:
            metadata = pod["metadata"]
            name, job = metadata["name"], metadata["labels"][LABEL_JOB]
            pods[job][name.removeprefix(f"{job}-")] = pod
            if "deletionTimestamp" in metadata and name not in self.held:
                going.add(name)
                if name in self._going:
                    scripted_pods.vanish(driver.api, driver.namespace, name)
        self.jobs = {job["metadata"]["name"]: job for job in jobs}
        self.pods, self._going = pods, going

    def _folder(self) -> str:
        return f"/api/v1/namespaces/{self.driver.namespace}"


class Life:
    """One job of a walk."""

    def __init__(self, walk: Walk, name: str) -> None:
        self.walk = walk
        self.driver = walk.driver
        self.name = name
        self.number = 2

    @property
    def status(self) -> dict[str, Any]:
        """Its status, as it was last seen."""
        status: dict[str, Any] = self.walk.jobs.get(self.name, {}).get("status", {})
        return status

    def submit(self, **changes: Any) -> None:
        """Create the job, a restart of which waits for nothing unless it says so."""
        policy = {"backoffSeconds": 0, **changes.pop("runPolicy", {})}
        changes.setdefault("resources__nodes", 2)
        self.number = changes["resources__nodes"]
        self.driver.submit(metadata__name=self.name, runPolicy=policy, **changes)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for something that a look shows."""
        await self.walk.until(
            condition, lambda: (self.name, self.status, list(self.walk.pods[self.name]))
        )

    async def shows(self, reason: str) -> None:
        """Wait until the status gives a reason."""
        await self.until(lambda: self.status.get("reason") == reason)

    async def bound(self, attempt: int = 0) -> None:
        """Wait until all pods of an attempt have nodes."""
        await self.until(
            lambda: (
                sum(bool(pod["spec"].get("nodeName")) for pod in self.of(attempt)) == self.number
            )
        )

    async def runs(self, attempt: int = 0) -> None:
        """Let an attempt run."""
        await self.bound(attempt)
        await self.do(scripted_pods.run, *self.names(attempt))
        await self.until(
            lambda: (
                (self.status.get("phase"), self.status.get("attempt", 0)) == ("Running", attempt)
            )
        )

    async def succeeds(self, attempt: int = 0) -> None:
        """Let an attempt run, and end well."""
        await self.runs(attempt)
        await self.do(scripted_pods.finish, *self.names(attempt))

    async def do(self, act: Callable[..., None], *pods: str, **how: Any) -> None:
        """Do something to pods of its, one right after the other.

        All lives share some threads: what waited for one in between might come when the operator
        has judged what came before.
        """

        def act_on_all() -> None:
            for pod in pods:
                act(self.driver.api, self.driver.namespace, f"{self.name}-{pod}", **how)

        await asyncio.to_thread(act_on_all)

    def names(self, attempt: int) -> list[str]:
        """What follows the job's name in those of the pods of an attempt."""
        return [f"{attempt}-{index}" for index in range(self.number)]

    async def edit(self, **policy: Any) -> None:
        """Change how the job is to be run."""
        path = self.driver.path(name=self.name)
        await asyncio.to_thread(self.driver.api.patch, path, {"spec": {"runPolicy": policy}})

    def of(self, attempt: int) -> list[dict[str, Any]]:
        """Pods of an attempt."""
        pods = self.walk.pods[self.name]
        return [pod for name, pod in pods.items() if name.startswith(f"{attempt}-")]
