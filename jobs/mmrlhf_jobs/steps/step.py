"""A step, and the world that it runs in."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from mmrlhf_jobs.features.limits import FeatureLimits
from mmrlhf_jobs.reporting.events import NoProgress, Progress
from mmrlhf_jobs.steps.spec import StepSpec
from mmrlhf_jobs.storage.uris import StorageOptions

if TYPE_CHECKING:
    from mmrlhf_jobs.forward.kept_features import KeptFeatures
    from mmrlhf_jobs.process.context import TrainingContext

__all__ = ["Outcome", "Step", "StepContext"]

S = TypeVar("S", bound=StepSpec)


@dataclass(frozen=True)
class Outcome:
    """What came of a step.

    Attributes:
        artifacts: URI of what it made.
        metrics: Its figures; those that are no numbers are for the report alone.
    """

    artifacts: str
    metrics: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StepContext:
    """The world around a step.

    Attributes:
        scratch: Local folder of this process, for files on their way; may be lost.
        storage: How to reach an object store.
        progress: Where live events go.
        members: The processes of torchrun, for a step that shares its work among them.
    """

    scratch: Path
    storage: StorageOptions = field(default_factory=StorageOptions)
    progress: Progress = field(default_factory=NoProgress)
    members: TrainingContext | None = None

    @property
    def gang(self) -> TrainingContext:
        """The processes of a step that is shared."""
        assert self.members is not None, "the step says that it is shared"
        return self.members

    def tell(self, phase: str, message: str) -> None:
        """Say what the step is about to do."""
        self.progress.emit("phase", phase=phase, message=message)

    def note(self, message: str) -> None:
        """Say something that whoever runs the step should know."""
        self.progress.emit("notice", message=message)

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
class Step(Generic[S]):
    """A step: what it is told, and what it does with it.

    Attributes:
        summary: What it does, in one line, for ``--help``.
        spec: What it is told; its field ``step`` holds the name.
        run: Does it. Raises a `JobError` when it cannot.
        shared: Whether the processes of torchrun share its work; others run as one process, and
            without torch.
    """

    summary: str
    spec: type[S]
    run: Callable[[S, StepContext], Outcome]
    shared: bool = False

    @property
    def name(self) -> str:
        """Its name: in a file ``step: NAME``, on a command line ``python -m mmrlhf_jobs NAME``."""
        return str(self.spec.model_fields["step"].default)
