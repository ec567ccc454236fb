"""One of several processes that do the first step of jobs in turn.

``first_steps.py FOLDER JOB...``: rank and number of processes come from ``RANK`` and
``WORLD_SIZE``, and they meet at a file in the folder. One pair of processes for all jobs spares
each job the imports.
"""

from __future__ import annotations

import os
import pkgutil
import sys
import tempfile
from pathlib import Path

import torch
import torch.distributed as dist

from mmrlhf_api import kind_of, load_job
from mmrlhf_jobs.process.context import TrainingContext
from mmrlhf_jobs.process.gang import Runtime


def main(folder: Path, jobs: list[str]) -> None:
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    meeting = f"file://{folder / f'meeting-{size}'}"
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=size)
    for path in jobs:
        job = load_job(Path(path))
        with tempfile.TemporaryDirectory() as scratch:
            context = TrainingContext(
                Runtime(rank, size, torch.device("cpu")), scratch=Path(scratch)
            )
            pkgutil.resolve_name(kind_of(job).runner)(job, context)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
