"""Progress as JSON lines in a file."""

from __future__ import annotations

import json
from pathlib import Path

from mmrlhf_jobs.reporting.events import event_object

__all__ = ["FileProgress"]


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
