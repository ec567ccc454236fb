"""A job that is killed at one place after the other, each attempt in a fork of this process.

Usage: ``kills.py JOB_FILE SCRATCH``. Prints the places where attempts were killed, one a line.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import yaml

from mmrlhf_jobs.sampling.context import Stages
from mmrlhf_jobs.sampling.corpora import reading
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from tests.jobs.sampling.here import sample_here
from tests.jobs.sampling.processes import die, kill_at_part

__all__ = ["PLACES"]

PLACES = (
    "begin read",
    "part 2 of rows",
    "begin load",
    "begin embed",
    "part 2 of media",
    "part 2 of candidates",
    "begin cluster",
    "part 1 of buckets",
    "part 1 of clusters",  # the centres
    "part 2 of clusters",  # which rows are theirs
    "begin select",
    "part 1 of pools",
    "part 1 of picks",
    "part 2 of records",
    "text statistics.json",
    "begin report",
    "text report.html",
    "text manifest.json",
)
"""Stages that begin, parts that are finished but not yet kept, and files of the results."""


def run(job: Path, scratch: Path) -> None:
    """Kill an attempt at every place, then let one end."""
    spec = yaml.safe_load(job.read_text())
    for place in (*PLACES, None):
        child = os.fork()
        if child == 0:
            # Many blocks, so that there is a middle of each stage.
            reading.BLOCK_ROWS = 8  # type: ignore[misc]
            if place is not None:
                _kill_at(place)
            sample_here(spec, scratch)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status != (0 if place is None else -signal.SIGKILL):
            sys.exit(f"the attempt to be killed at {place!r} ended with {status}")
        print(place, flush=True)  # now: what waits is in every fork too, and comes from each


def _kill_at(place: str) -> None:
    kind, _, what = place.partition(" ")

    if kind == "begin":
        begin = Stages.begin

        def begun(self: Stages, stage: str, message: str, **more: Any) -> None:
            begin(self, stage, message, **more)
            if stage == what:
                die()

        Stages.begin = begun  # type: ignore[method-assign]
    elif kind == "text":
        write = ArtifactStore.write_text

        def written(self: ArtifactStore, key: str, text: str) -> None:
            if key.endswith(what):
                die()
            write(self, key, text)

        ArtifactStore.write_text = written  # type: ignore[method-assign]
    else:
        number, _, stage = what.partition(" of ")
        kill_at_part(int(number), stage)


if __name__ == "__main__":
    run(Path(sys.argv[1]), Path(sys.argv[2]))
