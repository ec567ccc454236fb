"""Progress of a job, as rank 0 writes it to ``MMRLHF_PROGRESS_FILE``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Done", "Event", "EventTail", "Notice", "Phase", "Step", "parse_event"]


@dataclass(frozen=True)
class Phase:
    """The job starts another part of its work."""

    phase: str
    message: str


@dataclass(frozen=True)
class Step:
    """The job finished a step."""

    step: int
    total_steps: int | None = None
    loss: float | None = None
    margin: float | None = None
    accuracy: float | None = None
    tokens_per_second: float | None = None
    rows_read: float | None = None
    media_embedded: float | None = None
    rows_selected: float | None = None
    items_per_second: float | None = None
    eta_seconds: float | None = None


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
    except ValueError:
        return None
    match data.get("event") if isinstance(data, dict) else None:
        case "phase" if isinstance(data.get("phase"), str):
            return Phase(data["phase"], str(data.get("message") or ""))
        case "notice" if isinstance(data.get("message"), str):
            return Notice(data["message"])
        case "step" if isinstance(data.get("step"), int):
            total = data.get("totalSteps")
            return Step(
                step=data["step"],
                total_steps=total if isinstance(total, int) else None,
                loss=_number(data.get("loss")),
                margin=_number(data.get("margin")),
                accuracy=_number(data.get("accuracy")),
                tokens_per_second=_number(data.get("tokensPerSecond")),
                rows_read=_number(data.get("rowsRead")),
                media_embedded=_number(data.get("mediaEmbedded")),
                rows_selected=_number(data.get("rowsSelected")),
                items_per_second=_number(data.get("itemsPerSecond")),
                eta_seconds=_number(data.get("etaSeconds")),
            )
        case "done":
            artifacts = data.get("artifacts")
            metrics = data.get("metrics")
            return Done(
                artifacts if isinstance(artifacts, str) else None,
                metrics if isinstance(metrics, dict) else {},
            )
        case _:
            return None


def _number(value: Any) -> float | None:  # noqa: ANN401 - any JSON value
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


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
