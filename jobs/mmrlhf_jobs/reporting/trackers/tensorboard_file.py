"""TensorBoard's event file, written by tensorboardX and kept among the run's artifacts.

One file of one name holds the whole run: an attempt that goes on writes it anew from the restored
rows, so that no step is in it twice, and the file that is there is replaced as a whole. What was
written before a checkpoint stays the same, so that a TensorBoard that follows the file reads on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from mmrlhf_api.progress import STEP
from mmrlhf_jobs.reporting.trackers.tracker import Keep, Row, is_figure

__all__ = ["EVENT_FILE", "TensorboardFile"]

EVENT_FILE: Final = "events.out.tfevents.0.mmrlhf"
"""TensorBoard takes files with ``tfevents`` in their names."""


class TensorboardFile:
    """Writes one scalar a figure.

    Args:
        folder: Local folder for the file.
        keep: Puts it among the artifacts.
    """

    name = "TensorBoard"

    def __init__(self, folder: Path, keep: Keep) -> None:
        self._path = folder / EVENT_FILE
        self._keep = keep
        self._file: Any = None

    def open(self) -> None:
        """Begin the file anew."""
        # Not its SummaryWriter, which names the file itself and writes it from another process's
        # queue, so that nobody knows when a row is in it.
        from tensorboardX.proto import event_pb2, summary_pb2
        from tensorboardX.record_writer import RecordWriter

        self._events, self._summaries = event_pb2, summary_pb2
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.unlink(missing_ok=True)
        self._file = RecordWriter(str(self._path))
        self._first = True

    def log(self, row: Row, time: float) -> None:
        """Write the row as one event."""
        if self._first:
            self._file.write(
                self._events.Event(wall_time=time, file_version="brain.Event:2").SerializeToString()
            )
            self._first = False
        values = [
            self._summaries.Summary.Value(tag=name, simple_value=value)
            for name, value in row.items()
            if name != STEP.name and is_figure(value)
        ]
        event = self._events.Event(
            wall_time=time, step=int(row[STEP.name]), summary=self._summaries.Summary(value=values)
        )
        self._file.write(event.SerializeToString())

    def keep(self) -> None:
        """Put the file as it is among the artifacts."""
        self._file.flush()
        self._keep(self._path, f"tensorboard/{EVENT_FILE}")

    def close(self, *, succeeded: bool) -> None:
        """Close the file."""
        del succeeded
        self._file.close()
