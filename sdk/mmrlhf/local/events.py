"""Progress of a job, as rank 0 writes it to ``MMRLHF_PROGRESS_FILE``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mmrlhf_api.progress import FIGURES, STEP, TOTAL_STEPS, EventName

__all__ = ["Done", "Event", "EventTail", "Notice", "Phase", "Step", "parse_event"]


@dataclass(frozen=True)
class Phase:
    """The job starts another part of its work."""

    phase: str
    message: str


@dataclass(frozen=True)
class Step:
    """The job finished a step; its figures by their names in `FIGURES`."""

    step: int
    total: int | None = None
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Notice:
    """Something that the user should know."""

    message: str


@dataclass(frozen=True)
class Done:
    """The job has finished and its artifacts are whole."""

    artifacts: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)


Event = Phase | Step | Notice | Done


def parse_event(line: str) -> Event | None:
    """Return the event of a line; None for one that is not understood, such as of a newer job."""
    try:
        data = json.loads(line)
    except (ValueError, RecursionError):
        return None
    match data.get("event") if isinstance(data, dict) else None:
        case EventName.PHASE if isinstance(data.get("phase"), str):
            return Phase(data["phase"], str(data.get("message") or ""))
        case EventName.NOTICE if isinstance(data.get("message"), str):
            return Notice(data["message"])
        case EventName.STEP if isinstance(data.get(STEP.name), int):
            read = {figure: figure.read(data.get(figure.name)) for figure in FIGURES}
            total = read[TOTAL_STEPS]
            return Step(
                step=data[STEP.name],
                total=None if total is None else int(total),
                figures={
                    figure.name: value
                    for figure, value in read.items()
                    if figure not in {STEP, TOTAL_STEPS} and value is not None
                },
            )
        case EventName.DONE:
            artifacts = data.get("artifacts")
            metrics = data.get("metrics")
            return Done(
                artifacts if isinstance(artifacts, str) else None,
                metrics if isinstance(metrics, dict) else {},
            )
        case _:
            return None


class EventTail:
    """Reads the events that were added to a file since the last look.

    Args:
        path: The file; it may not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0
        self._rest = b""
        self.not_understood = 0
        """Lines that were no event."""

    def read(self) -> list[Event]:
        """Return the new events; a line that is not finished waits for the next look."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._position)
                data = file.read()
        except FileNotFoundError:
            return []
        self._position += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        events: list[Event] = []
        for line in filter(None, lines):
            event = parse_event(line.decode(errors="replace"))
            if event is None:
                self.not_understood += 1
            else:
                events.append(event)
        return events
