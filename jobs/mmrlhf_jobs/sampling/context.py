"""What the stages of a sampling work with: the store, parts, shared work, and progress."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mmrlhf_api import ClusterSampleJob
from mmrlhf_api.sampling_runs import SamplingLayout
from mmrlhf_jobs.process.context import TrainingContext
from mmrlhf_jobs.process.shared_work import SharedWork
from mmrlhf_jobs.sampling.budgets import Limits
from mmrlhf_jobs.sampling.parts import Part, Parts
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from mmrlhf_jobs.storage.claims import Claim
from mmrlhf_jobs.storage.results import Results
from mmrlhf_jobs.storage.uris import StorageOptions

__all__ = ["EFFORT", "StageProgress", "Stages"]

COUNTERS: Final = {"rows": "rowsRead", "media": "mediaEmbedded", "selected": "rowsSelected"}
"""Counters of the job by their name in progress events."""

EFFORT: Final = "effort"
"""Counter of how much of a stage is done, in units of its own."""


@dataclass
class StageProgress:
    """Turns counts into progress events.

    Attributes:
        emit: Takes the fields of a ``step`` event.
        clock: Seconds.
    """

    emit: Callable[[dict[str, object]], None]
    clock: Callable[[], float] = time.monotonic
    _watched: str = ""
    _effort: int = 0
    _since: float = 0.0
    _before: dict[str, int] = field(default_factory=dict)
    _known: dict[str, int] = field(default_factory=dict)

    def watch(self, counter: str, effort: int = 0) -> None:
        """Begin a stage.

        Args:
            counter: The counter whose rate tells how fast the stage is; empty: none.
            effort: What `EFFORT` will have counted when the stage ends; 0: that is not known.
        """
        self._watched, self._effort, self._since = counter, effort, self.clock()
        self._before = dict(self._known)

    def report(self, counts: dict[str, int]) -> None:
        """Tell counts, see `SharedWork`."""
        self._known |= counts
        fields: dict[str, object] = {"step": self._known.get("parts", 0)}
        for name, wire in COUNTERS.items():
            if name in self._known:
                fields[wire] = self._known[name]
        seconds = self.clock() - self._since
        if self._watched and seconds > 0:
            fields["itemsPerSecond"] = self._done(self._watched) / seconds
        effort = self._done(EFFORT)
        if 0 < effort <= self._effort and seconds > 0:
            fields["etaSeconds"] = seconds * (self._effort - effort) / effort
        self.emit(fields)

    def _done(self, counter: str) -> int:
        return self._known.get(counter, 0) - self._before.get(counter, 0)


class Stages:
    """The world of one run's stages.

    Args:
        job: The job.
        context: The world of the process.
        options: How to reach the object store.
    """

    def __init__(
        self, job: ClusterSampleJob, context: TrainingContext, options: StorageOptions
    ) -> None:
        self.job = job
        self.context = context
        self.options = options
        self.runtime = context.runtime
        self.layout = SamplingLayout.of(job)
        store = ArtifactStore(job.spec.artifacts.uri, options)
        self.claim = Claim(store, self.layout.run.claim, attempt=context.attempt)
        self.store = store.guarded(self.claim.check)
        self.results = Results(self.store, self.layout.run.prefix, self.claim)
        failures = job.spec.failures
        self.limits = Limits(failures.max_fraction, failures.per_reason)
        self.scratch = context.scratch / f"rank-{self.runtime.rank}"
        self.progress = StageProgress(lambda fields: context.progress.emit("step", **fields))
        self.work = SharedWork(
            self.runtime, context.interruption, (*COUNTERS, EFFORT), self.progress.report
        )

    def parts(self, stage: str) -> Parts:
        """The parts of a stage."""
        return Parts(
            self.store,
            self.layout.stage(stage, since=self.claim.holder.since),
            scratch=self.scratch / "parts",
            storage=self.options,
        )

    def forget(self) -> None:
        """Remove the parts of before the run was begun anew, which nobody takes any more."""
        own = self.layout.stage("", since=self.claim.holder.since)
        for key in self.store.sizes(self.layout.work):
            if not key.startswith(own):
                self.store.remove(key)

    def begin(self, stage: str, message: str, *, counter: str = "", effort: int = 0) -> None:
        """Tell that a stage begins; see `StageProgress.watch`."""
        self.context.progress.emit("phase", phase=stage, message=message)
        self.progress.watch(counter, effort)

    def fetch(self, part: Part) -> Path:
        """A local folder with the files of a part: its own place, or a copy in the scratch."""
        here = self.store.local_folder(self.key_of(part))
        if here is not None:
            part.check()
            return here
        folder = self.scratch / "fetched" / self.key_of(part).replace("/", "_")
        if not folder.is_dir():
            folder.parent.mkdir(parents=True, exist_ok=True)
            self.store.fetch(self.key_of(part), folder)
        return folder

    def drop_fetched(self) -> None:
        """Remove the copies."""
        shutil.rmtree(self.scratch / "fetched", ignore_errors=True)

    def key_of(self, part: Part) -> str:
        """Key of a part in the store."""
        return part.uri.removeprefix(self.store.uri).lstrip("/")
