"""Live progress of a job as JSON lines, written by rank 0.

The file is named by ``MMRLHF_PROGRESS_FILE``. Without it progress is written to the log, for
people, and in a cluster also pushed to the operator at ``MMRLHF_PROGRESS_URL``. One object a line::

    {"event": "phase", "phase": "reference", "message": "..."}
    {"event": "step", "step": 3, "totalSteps": 100, "loss": 0.61, "margin": 0.4, ...}
    {"event": "notice", "message": "..."}
    {"event": "done", "artifacts": "file:///...", "metrics": {...}}
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from mmrlhf_api.constants import ENV_PROGRESS_FILE, ENV_PROGRESS_URL, ENV_TOKEN_FILE

__all__ = ["FileProgress", "NoProgress", "Progress", "event_object", "progress_from_environment"]


class Progress(Protocol):
    """Where the events of a job go."""

    def emit(self, event: str, **fields: object) -> None:
        """Tell one event. Never fails the job."""

    def close(self) -> None:
        """Tell what is left to tell, for a few seconds at most."""


class NoProgress:
    """Nobody listens."""

    def emit(self, event: str, **fields: object) -> None:
        """Drop the event."""

    def close(self) -> None:
        """Nothing is left."""


class FileProgress:
    """Appends each event to a file as one JSON line."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def emit(self, event: str, **fields: object) -> None:
        """Append the event.

        A full disk must not end a training that would otherwise go on, so write errors stop here:
        progress is a courtesy, the artifacts are the record.
        """
        line = json.dumps(event_object(event, fields), separators=(",", ":")) + "\n"
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line)
        except OSError:
            return

    def close(self) -> None:
        """Every event is in the file already."""


def event_object(event: str, fields: Mapping[str, object]) -> dict[str, object]:
    """An event as JSON can say it: numbers that are not finite become null."""
    finite = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in fields.items()
    }
    return {"event": event, **finite}


def progress_from_environment(environ: Mapping[str, str] = os.environ) -> Progress:
    """Where the launcher wants the progress of rank 0; nobody listens to the other ranks."""
    if environ.get("RANK", "0") != "0":
        return NoProgress()
    if path := environ.get(ENV_PROGRESS_FILE):
        return FileProgress(Path(path))
    from mmrlhf_jobs.reporting.log import LogProgress, Several

    url, token = environ.get(ENV_PROGRESS_URL), environ.get(ENV_TOKEN_FILE)
    if url and token:
        from mmrlhf_jobs.reporting.push import PushProgress

        return Several((LogProgress(), PushProgress(url, Path(token))))
    return LogProgress()
