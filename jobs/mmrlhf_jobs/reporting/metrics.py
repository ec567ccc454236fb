"""metrics.jsonl: the durable time series of a run, one JSON object an optimizer step."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

from mmrlhf_jobs.errors import StorageError

__all__ = ["MetricsLog"]


class MetricsLog:
    """The series of this run so far, in a local file that rank 0 appends to.

    Args:
        path: Local file; replaced by `restored`, so that no step is in it twice after a resume.
        restored: Text of the series up to the checkpoint that the run goes on from.
    """

    def __init__(self, path: Path, *, restored: str = "") -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(restored, encoding="utf-8")
        except OSError as error:
            raise StorageError(f"{path}: cannot write the metrics: {error.strerror}") from error

    def append(self, row: Mapping[str, float | int]) -> None:
        """Append one row; numbers that are not finite become null, as JSON has none.

        Raises:
            StorageError: The file cannot be written.
        """
        finite = {k: v if math.isfinite(v) else None for k, v in row.items()}
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(finite, separators=(",", ":")) + "\n")
        except OSError as error:
            raise StorageError(
                f"{self._path}: cannot write the metrics: {error.strerror}"
            ) from error

    def text(self) -> str:
        """The whole series."""
        return self._path.read_text(encoding="utf-8")
