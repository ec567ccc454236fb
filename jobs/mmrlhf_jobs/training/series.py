"""The figures of a run, step by step: ``metrics.jsonl``, which is the record, and the trackers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from mmrlhf_api import TrainJob, job_dict
from mmrlhf_api.runs import RunLayout
from mmrlhf_jobs.process.context import TrainingContext
from mmrlhf_jobs.reporting.metrics import MetricsLog
from mmrlhf_jobs.reporting.trackers.aside import Trackers
from mmrlhf_jobs.reporting.trackers.opening import open_trackers
from mmrlhf_jobs.reporting.trackers.tracker import RunIdentity
from mmrlhf_jobs.storage.artifacts import ArtifactStore

__all__ = ["Series", "identify_run", "job_trackers"]


class Series:
    """Takes the rows of a run.

    Args:
        path: Local file of the metrics.
        restored: Text of ``metrics.jsonl`` up to the checkpoint that the run goes on from.
        trackers: Who else is told.
    """

    def __init__(self, path: Path, *, restored: str, trackers: Trackers) -> None:
        self._log = MetricsLog(path, restored=restored)
        self._trackers = trackers
        trackers.begin([json.loads(line) for line in restored.splitlines()])

    def append(self, row: Mapping[str, float | int]) -> None:
        """Append one row; see `MetricsLog.append`."""
        self._log.append(row)
        self._trackers.log(row)

    def keep(self) -> None:
        """Let trackers make durable what they have, as a checkpoint does with the record."""
        self._trackers.keep()

    def text(self) -> str:
        """The whole record."""
        return self._log.text()


def job_trackers(
    job: TrainJob, context: TrainingContext, store: ArtifactStore, since: int
) -> Trackers:
    """The trackers of a run; rank 0 has them, and all others none.

    Args:
        job: The job.
        context: The world around it.
        store: Artifacts.
        since: Number of the claim that began the run anew; 1 where none did.
    """
    if not context.runtime.is_main:
        return Trackers((), context.clock)
    prefix = RunLayout.of(job).prefix

    def keep(file: Path, name: str) -> None:
        with store.new_file(f"{prefix}/{name}") as path:
            shutil.copyfile(file, path)

    return open_trackers(
        job.spec.tracking,
        identify_run(job, since),
        scratch=context.scratch / "trackers",
        keep=keep,
        clock=context.clock,
        tell=context.tell,
    )


def identify_run(job: TrainJob, since: int = 1) -> RunIdentity:
    """What a run is called elsewhere: by the job's UID, and a run begun anew by another id.

    Args:
        job: The job.
        since: Number of the claim that began the run anew; 1 where none did.
    """
    meta = job.metadata
    # On a laptop a digest of the spec stands for the UID, and several names may share one.
    own = meta.uid or f"{meta.name[:40]}-{RunLayout.of(job).prefix.rpartition('/')[2]}"
    return RunIdentity(
        id=own if since == 1 else f"{own}-{since}",
        name=f"{meta.namespace}/{meta.name}",
        job=job_dict(job),
        tags=job.spec.tracking.tags,
    )
