"""Live progress of a job as JSON lines, written by rank 0.

The file is named by ``MMRLHF_PROGRESS_FILE``. Without it progress is written to the log, for
people, and in a cluster also pushed to the operator at ``MMRLHF_PROGRESS_URL``. The events are
those of `mmrlhf_api.progress`, one object a line.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from mmrlhf_api.constants import ENV_PROGRESS_FILE, ENV_PROGRESS_URL, ENV_TOKEN_FILE
from mmrlhf_jobs.reporting.events import NoProgress, Progress
from mmrlhf_jobs.reporting.file import FileProgress

__all__ = ["progress_from_environment"]


def progress_from_environment(
    environ: Mapping[str, str] = os.environ, *, log: TextIO | None = None
) -> Progress:
    """Where the launcher wants the progress of rank 0; nobody listens to the other ranks.

    Args:
        environ: Names the file or the operator, as above.
        log: Where lines for people go; None is standard output.
    """
    if environ.get("RANK", "0") != "0":
        return NoProgress()
    if path := environ.get(ENV_PROGRESS_FILE):
        return FileProgress(Path(path))
    from mmrlhf_jobs.reporting.fan_out import Several
    from mmrlhf_jobs.reporting.log import LogProgress

    url, token = environ.get(ENV_PROGRESS_URL), environ.get(ENV_TOKEN_FILE)
    if url and token:
        from mmrlhf_jobs.reporting.push import PushProgress

        return Several((LogProgress(log), PushProgress(url, Path(token))))
    return LogProgress(log)
