"""A step, and the world that it runs in."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from mmrlhf_api.base import ApiModel, wire_dict
from mmrlhf_api.constants import GateOutcome
from mmrlhf_api.model_servers import EndpointSettings
from mmrlhf_jobs.errors import SpecError
from mmrlhf_jobs.features.limits import FeatureLimits
from mmrlhf_jobs.reporting.events import NoProgress, Progress
from mmrlhf_jobs.steps.spec import FeatureSettings, StepSpec
from mmrlhf_jobs.storage.journal import Journal
from mmrlhf_jobs.storage.uris import StorageOptions

if TYPE_CHECKING:
    import torch

    from mmrlhf_jobs.forward.kept_features import KeptFeatures
    from mmrlhf_jobs.process.context import TrainingContext

__all__ = ["JobPlace", "Outcome", "Step", "StepContext", "Verdict"]

S = TypeVar("S", bound=StepSpec)

_TOLD_SECONDS: Final = 1.0


@dataclass(frozen=True)
class Verdict:
    """What a step has found, where that decides what others do.

    Attributes:
        word: In one word.
        sentence: In one sentence.
        fails: Whether a job that finds this fails.
    """

    word: GateOutcome
    sentence: str
    fails: bool = False


@dataclass(frozen=True)
class Outcome:
    """What came of a step.

    Attributes:
        artifacts: URI of what it made.
        metrics: Its figures; those that are no numbers are for the report alone.
        verdict: What it has found, of a gate.
        then: What it does once what it made is where readers look; it may be done again after a
            kill, and does no more then.
    """

    artifacts: str
    metrics: Mapping[str, Any] = field(default_factory=dict)
    verdict: Verdict | None = None
    then: Callable[[], None] | None = None


@dataclass
class _Counted:
    """When items were told last."""

    at: float = -math.inf

    def tell(self, progress: Progress, done: int, total: int | None) -> None:
        now = time.monotonic()
        if now - self.at < _TOLD_SECONDS and done != total:
            return
        self.at = now
        known = {} if total is None else {"totalSteps": total, "itemsTotal": total}
        progress.emit("step", step=done, itemsDone=done, **known)


@dataclass(frozen=True)
class StepContext:
    """The world around a step.

    Attributes:
        scratch: Local folder of this process, for files on their way; may be lost.
        storage: How to reach an object store.
        progress: Where live events go.
        members: The processes of torchrun, for a step that shares its work among them.
        open_journal: Opens the journal at a place; that of a job is in its artifact store, wherever
            it is said to be.
        shown_at: Where readers will find what the step makes at a place; of a job that is another.
    """

    scratch: Path
    storage: StorageOptions = field(default_factory=StorageOptions)
    progress: Progress = field(default_factory=NoProgress)
    members: TrainingContext | None = None
    open_journal: Callable[[str], Journal] = Journal
    shown_at: Callable[[str], str] = str
    _counted: _Counted = field(default_factory=_Counted, init=False, repr=False)

    @property
    def gang(self) -> TrainingContext:
        """The processes of a step that is shared."""
        assert self.members is not None, "the step says that it is shared"
        return self.members

    def tell(self, phase: str, message: str) -> None:
        """Say what the step is about to do."""
        self.progress.emit("phase", phase=phase, message=message)

    def count(self, done: int, total: int | None = None) -> None:
        """Say how many items of this part of the work are done, and of how many.

        It may be called for each: what is told is told about once a second.
        """
        self._counted.tell(self.progress, done, total)

    def note(self, message: str) -> None:
        """Say something that whoever runs the step should know."""
        self.progress.emit("notice", message=message)

    @property
    def device(self) -> torch.device:
        """Where a step computes that is one process."""
        from mmrlhf_jobs.process.gang import Runtime

        runtime = Runtime.from_environment() if self.members is None else self.members.runtime
        return runtime.device

    def keep_features(self, limits: FeatureLimits | None) -> KeptFeatures:
        """Keep what frozen vision towers make while the step runs; all its processes call it."""
        from mmrlhf_jobs.forward.kept_features import KeptFeatures

        return KeptFeatures(
            limits, runtime=self.gang.runtime, scratch=self.scratch, tell=self.gang.tell
        )

    def show(self, report: Mapping[str, Any]) -> None:
        """Print a report to standard output, which holds nothing else; progress goes elsewhere."""
        sys.stdout.write(json.dumps(report, indent=2) + "\n")
        sys.stdout.flush()


@dataclass(frozen=True)
class JobPlace:
    """Where a step that runs as a job has its things.

    Attributes:
        folder: Folder, or URI of one, for what it makes; its names are those of the step's outputs.
        scratch: Local folder for files on their way.
        store: Artifacts of the job.
        features: What of the work of vision towers is kept.
    """

    folder: str
    scratch: Path
    store: str
    features: FeatureSettings = field(default_factory=FeatureSettings)

    def at(self, name: str) -> str:
        """Where an output is made."""
        return f"{self.folder.rstrip('/')}/{name}"

    def endpoints(self, servers: Sequence[EndpointSettings]) -> str:
        """A file of endpoints with the servers of a job."""
        file = self.scratch / "endpoints.json"
        file.write_text(json.dumps({"endpoints": [wire_dict(one) for one in servers]}))
        return str(file)

    @staticmethod
    def settings(kind: type[ApiModel], part: ApiModel) -> dict[str, Any]:
        """Settings that a part of a job shares with the command line of its step.

        Args:
            kind: Type of the settings.
            part: A subclass of it.
        """
        return {name: getattr(part, name) for name in kind.model_fields}

    @staticmethod
    def unresolved(field: str, name: str | None, instead: str) -> SpecError:
        """What to say of a job that nobody has resolved to what it left."""
        return SpecError(
            f"spec.{field}: {name} is looked up by the operator; a local run needs spec.{instead}"
        )


@dataclass(frozen=True)
class Step(Generic[S]):
    """A step: what it is told, and what it does with it.

    Attributes:
        summary: What it does, in one line, for ``--help``.
        spec: What it is told; its field ``step`` holds the name.
        run: Does it. Raises a `JobError` when it cannot.
        shared: Whether the processes of torchrun share its work; others run as one process.
        computes: Whether one that is not shared needs torch all the same, whatever it is told.
        of_job: Makes what it is told of its part of a StepJob; None: it is no job yet.
    """

    summary: str
    spec: type[S]
    run: Callable[[S, StepContext], Outcome]
    shared: bool = False
    computes: bool = False
    of_job: Callable[[Any, JobPlace], S] | None = None

    @property
    def name(self) -> str:
        """Its name: in a file ``step: NAME``, on a command line ``python -m mmrlhf_jobs NAME``."""
        return str(self.spec.model_fields["step"].default)
