"""Stores with runs in them, those who come to need one, and turns in which all act."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from mmrlhf_api import KINDS, Job
from mmrlhf_api.base import wire_dict
from mmrlhf_api.pipelines.names import LABEL_PIPELINE, LABEL_STEP
from mmrlhf_api.runs import RunLayout
from mmrlhf_api.steps.prune import PruneSettings
from mmrlhf_jobs.errors import JobError
from mmrlhf_jobs.reporting.lineage import keep_inputs, read_uris, take_lineage
from mmrlhf_jobs.reporting.manifest import Attempts
from mmrlhf_jobs.retention.pruning import Pruned, prune
from mmrlhf_jobs.storage.alias import AliasStore, Cause, artifact_digest
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from mmrlhf_jobs.storage.folders import entry_of
from mmrlhf_jobs.storage.marker import MARKER, make_marker
from mmrlhf_jobs.storage.uris import StorageOptions
from tests.unit.storage.writers import Gate, Writer

__all__ = ["NOW", "World", "in_turns"]

NOW: Final = datetime(2026, 11, 29, 4, tzinfo=UTC)
POLICY: Final = PruneSettings(last=1)


@dataclass
class World:
    """A store.

    Attributes:
        store: It.
        scratch: Local folder.
        options: How to reach an object store.
    """

    store: ArtifactStore
    scratch: Path
    options: StorageOptions | None = None

    @property
    def uri(self) -> str:
        return self.store.uri

    def run(
        self,
        key: str,
        *,
        days: float = 30,
        reads: Sequence[str] = (),
        labels: tuple[str, str] | None = None,
    ) -> str:
        """Leave the finished run of a job, with a model; return its URI."""
        namespace, name, uid = key.split("/")
        files = {"weights": key.encode()}
        entries = [entry_of(one, content) for one, content in files.items()]
        files[MARKER] = make_marker(entries)
        for one, content in files.items():
            self.store.write_text(f"{key}/model/{one}", content.decode())
        self.store.write_text(f"{key}/claim.json", "{}")
        lineage = [{"field": "data", "uri": uri, "content": "data"} for uri in reads]
        known = labels and {LABEL_PIPELINE: labels[0], LABEL_STEP: labels[1]}
        record = {
            "job": {
                "kind": "MMDPOJob",
                "metadata": {"namespace": namespace, "name": name, "uid": uid, "labels": known},
                "spec": {},
            },
            "lineage": {"version": 1, "attempt": 0, "inputs": lineage},
            "attempts": [{"endedAt": (NOW - timedelta(days=days)).isoformat()}],
            "files": [
                {
                    "path": f"model/{one}",
                    "size": len(content),
                    "sha256": entry_of(one, content).sha256,
                }
                for one, content in files.items()
            ],
        }
        self.store.write_text(f"{key}/manifest.json", json.dumps(record))
        return f"{self.uri}/{key}"

    def prune(self, *, at: float = 0, delete: bool = True, **policy: Any) -> Pruned:
        """Prune, some days from now."""
        settings = POLICY.model_copy(update=policy)
        now = NOW + timedelta(days=at)
        return prune(self.uri, settings, self.options, clock=lambda: now, delete=delete)

    def whole(self) -> set[str]:
        """Keys of runs whose models are whole."""
        return {key.removesuffix("/model") for key in self.store.list_committed()}

    def promote(self, run: str, name: str = "default/vqa") -> None:
        """Let an alias stand for the model of a run."""
        uri = f"{run}/model"
        aliases = AliasStore(self.uri, self.options)
        digest, before = artifact_digest(uri, self.options), aliases.read(name)
        aliases.move(name, uri, Cause("promote", ""), now=NOW, of=before, digest=digest)

    def job(self, model: str) -> Job:
        """A job that reads the model of a run."""
        body = {
            "metadata": {"name": "reader", "namespace": "vision", "uid": "uid-r"},
            "spec": {
                "step": "score",
                "score": {"model": f"{model}/model", "data": "/nowhere/records.jsonl"},
                "artifacts": {"uri": self.uri},
            },
        }
        return KINDS["StepJob"].model.model_validate(body, by_alias=True, by_name=False)

    def read(self, run: str) -> None:
        """Begin an attempt of that job, read the model, and leave a record, as jobs do."""
        job = self.job(run)
        layout = RunLayout.of(job)
        attempts = Attempts(self.store, layout.attempts, lambda: NOW)
        self.store.write_text(layout.claim, "{}")
        attempts.begin(processes=1, reads=read_uris(job))
        keep_inputs(job, run=f"{self.uri}/{layout.prefix}", now=NOW, options=self.options)
        lineage = take_lineage(job, attempt=0, options=self.options)
        self.store.fetch(f"{run.removeprefix(self.uri).strip('/')}/model", self.scratch / "fetched")
        record = {"job": wire_dict(job), "lineage": lineage, "attempts": [], "files": []}
        self.store.write_text(layout.manifest, json.dumps(record))


@dataclass
class _Turns:
    """Lets one of those who wait go on at a time, as a seed says."""

    draw: random.Random
    weights: Sequence[float]
    live: set[int] = field(default_factory=set)
    waiting: list[tuple[int, threading.Event]] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def wait(self, who: int) -> None:
        go = threading.Event()
        with self.changed:
            self.waiting.append((who, go))
            self.changed.notify_all()
        assert go.wait(600), "nobody's turn comes"

    def deal(self) -> None:
        while True:
            with self.changed:
                if not self.live:
                    return
                # Who waits for another's lock comes to no turn: the others go on meanwhile.
                self.changed.wait_for(self._all_wait, timeout=0.05)
                if not self.waiting:
                    continue
                self.waiting.sort(key=lambda one: one[0])
                weights = [self.weights[who] for who, _ in self.waiting]
                (chosen,) = self.draw.choices(range(len(weights)), weights)
                _, go = self.waiting.pop(chosen)
            go.set()

    def _all_wait(self) -> bool:
        return not self.live or {who for who, _ in self.waiting} >= self.live

    def end(self, who: int) -> None:
        with self.changed:
            self.live.discard(who)
            self.changed.notify_all()


class _Turn(Gate):
    def __init__(self, turns: _Turns, who: int) -> None:
        super().__init__()
        self._turns, self._who = turns, who

    def pass_through(self) -> None:
        self._turns.wait(self._who)


def in_turns(acts: Sequence[Callable[[], object]], *, seed: int) -> list[JobError | None]:
    """Let several act at once, call by call in an order of the seed; return how each ended."""
    draw = random.Random(seed)
    # Some are slow, so that the others are anywhere when they come to their next call.
    weights = [2 ** draw.uniform(-7, 0) for _ in acts]
    if seed % 4 == 3:
        weights[-1] = min(weights) / 1024  # the last one comes when all is over
    turns = _Turns(draw, weights, set(range(len(acts))))

    def whole(who: int) -> Callable[[], object]:
        def run() -> None:
            try:
                acts[who]()
            finally:
                turns.end(who)

        return run

    writers = [Writer(whole(who), _Turn(turns, who)) for who in range(len(acts))]
    for one in writers:
        one.start()
    turns.deal()
    ends: list[JobError | None] = []
    for one in writers:
        error = one.end()
        if error is not None and not isinstance(error, JobError):
            raise error
        ends.append(error)
    return ends
