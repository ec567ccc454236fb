"""Live progress of a job as JSON lines, written by rank 0.

The file is named by ``MMRLHF_PROGRESS_FILE``; without it, progress goes nowhere and training goes
on. One object a line::

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

from mmrlhf_api.constants import ENV_PROGRESS_FILE

__all__ = ["FileProgress", "NoProgress", "Progress", "progress_from_environment"]


class Progress(Protocol):
    """Where the events of a job go."""

    def emit(self, event: str, **fields: object) -> None:
        """Tell one event. Never fails the job."""


class NoProgress:
    """Nobody listens."""

    def emit(self, event: str, **fields: object) -> None:
        """Drop the event."""


class FileProgress:
    """Appends each event to a file as one JSON line."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def emit(self, event: str, **fields: object) -> None:
        """Append the event.

        A full disk must not end a training that would otherwise go on, so write errors stop here:
        progress is a courtesy, the artifacts are the record.
        """
        finite = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in fields.items()
        }
        line = json.dumps({"event": event, **finite}, separators=(",", ":")) + "\n"
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line)
        except OSError:
            return


def progress_from_environment(environ: Mapping[str, str] = os.environ) -> Progress:
    """The progress file that the launcher named, for rank 0; nobody for the other ranks."""
    path = environ.get(ENV_PROGRESS_FILE)
    if path and environ.get("RANK", "0") == "0":
        return FileProgress(Path(path))
    return NoProgress()
