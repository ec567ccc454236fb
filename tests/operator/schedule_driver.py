"""What a test does to pipelines on schedules: a clock and a store that say what it says."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

from mmrlhf_api import Job
from mmrlhf_api.constants import API_VERSION
from mmrlhf_operator.acting.object_store import Store, StoredObject, digest_of
from mmrlhf_operator.acting.outcomes import LookUpError
from mmrlhf_operator.state.store import Key
from mmrlhf_operator.state.views import Finding
from tests.operator.driver import Driver, Running, until
from tests.operator.run_driver import RunDriver

T = TypeVar("T")


@dataclass
class ScriptedStore:
    """Objects by URI, and how often it was looked at."""

    objects_at: dict[str, bytes] = field(default_factory=dict)
    problem: LookUpError | None = None
    looks: int = 0
    piece_bytes: int = 64

    def put(self, uri: str, content: bytes) -> None:
        self.objects_at[uri] = content

    def objects(self, uri: str) -> list[StoredObject]:
        top = uri.rstrip("/")
        return [
            StoredObject(key[len(top) :], len(content), str(hash(content)))
            for key, content in self.objects_at.items()
            if key == top or key.startswith(f"{top}/")
        ]

    def digest(self, uri: str) -> str | None:
        found = self.objects(uri)
        return digest_of(found) if found else None

    def read(self, uri: str, start: int) -> bytes:
        return self.objects_at[uri][start : start + self.piece_bytes]

    def holds(self, uri: str, *, within: str = "") -> bool:
        return bool(self.objects(uri)) or not within

    async def look(self, job: Job, work: Callable[[Store], T]) -> T:
        """As `Preflight.look`."""
        del job
        self.looks += 1
        if self.problem is not None:
            raise self.problem
        return work(cast("Store", self))

    async def check(self, job: Job) -> Finding | None:
        """As `Preflight.check`: everything is there."""
        del job
        return None


@dataclass
class Clock:
    """Tells the time that a test says."""

    now: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))

    def __call__(self) -> datetime:
        return self.now


_NUDGE_SECONDS = 3.0
DATA = "s3://bucket/ranked"
MODEL = "s3://bucket/judge"


class ScheduleDriver(RunDriver):
    """Does things to a pipeline named weekly in the namespace of a driver."""

    def __init__(self, driver: Driver) -> None:
        super().__init__(driver)
        self.clock, self.store = Clock(), ScriptedStore()
        self.store.put(f"{DATA}/a.jsonl", b"{}\n")
        self.store.put(f"{MODEL}/config.json", b"{}")

    @property
    def parts(self) -> dict[str, Any]:
        """Parts of an operator that go by the script."""
        return {"clock": self.clock, "looker": self.store, "checker": self.store}

    def body(self, name: str = "weekly", **spec: Any) -> dict[str, Any]:
        step = {
            "name": "score",
            "kind": "StepJob",
            "spec": {
                "step": "score",
                "score": {"data": DATA, "model": MODEL},
                "resources": {"cpu": "10m", "memory": "8Mi", "sharedMemory": "1Mi"},
                "runPolicy": {"backoffSeconds": 0, "maxRestarts": 0},
            },
        }
        return {
            "apiVersion": API_VERSION,
            "kind": "AlignmentPipeline",
            "metadata": {"name": name},
            "spec": {"artifacts": {"uri": "s3://bucket/runs"}, "steps": [step], **spec},
        }

    def create(self, name: str = "weekly", **spec: Any) -> dict[str, Any]:
        return self.api.create(self.path(kind="AlignmentPipeline"), self.body(name, **spec))

    def change(self, name: str = "weekly", /, **spec: Any) -> None:
        self.api.patch(self.path(name, "AlignmentPipeline"), {"spec": spec})

    def schedule(self, name: str = "weekly") -> dict[str, Any]:
        body = self.api.get(self.path(name, "AlignmentPipeline"))
        found: dict[str, Any] = body.get("status", {}).get("schedule", {})
        return found

    def is_stalled(self, name: str) -> bool:
        return self.condition("Stalled", name, "AlignmentPipeline").get("status") == "True"

    def runs_of(self, name: str = "weekly") -> list[str]:
        items = self.api.get(self.path())["items"]
        return sorted(
            one["metadata"]["name"] for one in items if one["spec"].get("pipeline") == name
        )

    def nudge(self, name: str = "weekly") -> None:
        """Have the pipeline looked at: the operator itself waits on real clocks."""
        stamp = {"metadata": {"annotations": {"nudged": str(datetime.now(UTC))}}}
        self.api.patch(self.path(name, "AlignmentPipeline"), stamp)

    def key(self, name: str = "weekly") -> Key:
        return Key("AlignmentPipeline", self.driver.namespace, name)

    async def comes(
        self, what: Callable[[], bool], words: str, name: str = "weekly", seconds: float = 30.0
    ) -> None:
        """Wait for something while the pipeline is looked at now and then."""

        nudged = -_NUDGE_SECONDS

        def there() -> bool:
            nonlocal nudged
            if what():
                return True
            # Not all the time: a status is not written over what has changed meanwhile.
            if time.monotonic() > nudged + _NUDGE_SECONDS:
                self.nudge(name)
                nudged = time.monotonic()
            return False

        await until(
            there,
            what=lambda: f"{words}, not {self.api.get(self.path(name, 'AlignmentPipeline'))}",
            seconds=seconds,
        )

    async def at(self, text: str, running: Running | None = None) -> None:
        """Set the clock, as 2026-12-01T03:00:05."""
        self.clock.now = datetime.fromisoformat(text).replace(tzinfo=UTC)
        if running is not None:
            running.operator.queue.add(self.key())

    async def succeeds(self, run: str) -> None:
        """Take a run to its end."""
        await self.comes(lambda: run in self.runs_of(), run)
        await self.runs(f"{run}-score")
        self.finish(f"{run}-score")
        await self.ends("Succeeded", run)
        await self.comes(
            lambda: self.schedule().get("lastSuccess", {}).get("name") == run, f"success of {run}"
        )
