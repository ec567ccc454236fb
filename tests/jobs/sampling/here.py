"""Runs of the job by the process of the test: no start of another one to wait for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from mmrlhf_api import ClusterSampleJob
from mmrlhf_jobs.process.context import TrainingContext
from mmrlhf_jobs.process.gang import Runtime
from mmrlhf_jobs.sampling import stages
from mmrlhf_jobs.sampling.corpora.media import MediaKind
from mmrlhf_jobs.sampling.images.decoders import Decoders, PreparedPicture
from mmrlhf_jobs.sampling.images.pictures import open_picture
from mmrlhf_jobs.sampling.job import sample

__all__ = ["DecodersHere", "sample_here", "short_answers"]


class DecodersHere(Decoders):
    """Decode in the process of the test: no other one has to import all that they need."""

    def decode(self, content: bytes, kind: MediaKind) -> PreparedPicture:
        """Decode a medium."""
        picture = open_picture(content, kind, edge=self.preparation.edge)
        return PreparedPicture(
            self.preparation.pixels(picture.pixels),
            picture.width,
            picture.height,
            picture.pts_ms,
            picture.black_start,
        )


class _Events:
    """Keeps progress events."""

    def __init__(self) -> None:
        self.found: list[dict[str, Any]] = []

    def emit(self, event: str, **fields: object) -> None:
        """Keep one."""
        self.found.append({"event": event, **fields})

    def close(self) -> None:
        """Nothing is left."""


def short_answers(folder: Path, *, target: int, **failures: Any) -> dict[str, Any]:
    """A job on ``data`` with ``clip``, both in a folder, that wants short answers alone."""
    return {
        "apiVersion": "mmrlhf.io/v1alpha1",
        "kind": "ClusterSampleJob",
        "metadata": {"name": "choose"},
        "spec": {
            "sources": [{"name": "data", "uri": str(folder / "data")}],
            "target": target,
            "ratio": {"long": 0, "mcq": 0},
            "clustering": {"centres": 2},
            "embedding": {"model": {"uri": str(folder / "clip")}},
            "artifacts": {"uri": str(folder / "artifacts")},
            "failures": failures,
        },
    }


def sample_here(job: dict[str, Any], scratch: Path) -> list[dict[str, Any]]:
    """Run a job as one process, without a map unless it asks for one; return its progress events.

    Raises:
        JobError: As the job does.
    """
    job["spec"].setdefault("report", {"map": False})
    events, threads = _Events(), torch.get_num_threads()
    runtime = Runtime(0, 1, torch.device("cpu"))
    stages.Decoders = DecodersHere  # type: ignore[attr-defined]
    try:
        sample(
            ClusterSampleJob.model_validate(job),
            TrainingContext(runtime=runtime, scratch=scratch, progress=events),
        )
    finally:
        stages.Decoders = Decoders  # type: ignore[attr-defined]
        torch.set_num_threads(threads)
    return events.found
