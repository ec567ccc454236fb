"""What every trainer is given: the outside world, passed in."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from mmrlhf_jobs.process.gang import Runtime
from mmrlhf_jobs.process.interruption import Interruption
from mmrlhf_jobs.reporting.events import NoProgress, Progress
from mmrlhf_jobs.reporting.manifest import Clock, utc_now
from mmrlhf_jobs.reporting.openlineage.telling import AttemptTold, NobodyTold

__all__ = ["TrainingContext"]


@dataclass(frozen=True)
class TrainingContext:
    """The world around a trainer.

    Attributes:
        runtime: Process group.
        scratch: Local folder of this process, for files on their way; may be lost.
        progress: Where live events go.
        interruption: Whether the process was asked to stop.
        fresh: Forget earlier starts of the same run.
        attempt: Number that the operator gave to this start, from 0; 0 on a laptop.
        clock: Tells the time.
        told: Who else is told of this attempt, in rank 0.
    """

    runtime: Runtime
    scratch: Path
    progress: Progress = field(default_factory=NoProgress)
    interruption: Interruption = field(default_factory=Interruption)
    fresh: bool = False
    attempt: int = 0
    clock: Clock = utc_now
    told: AttemptTold = field(default_factory=NobodyTold)

    def tell(self, message: str) -> None:
        """Say something that whoever started the job should know."""
        self.progress.emit("notice", message=message)
