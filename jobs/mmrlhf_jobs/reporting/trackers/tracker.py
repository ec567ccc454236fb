"""What a tracker is: it takes the rows of one run, in the order of their steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from mmrlhf_jobs.reporting.manifest import Clock

__all__ = ["Keep", "Row", "RunIdentity", "Tracker", "date_rows", "is_figure"]

Row: TypeAlias = Mapping[str, Any]
"""A row of ``metrics.jsonl``: ``step``, and figures by wire name; None where one is not finite."""
Keep: TypeAlias = Callable[[Path, str], None]
"""Puts a local file among the run's artifacts, under a name, in place of what is there."""


@dataclass(frozen=True)
class RunIdentity:
    """What a run is called elsewhere.

    Attributes:
        id: The same for all attempts of a run, so that a restart goes on where it was.
        name: For people.
        job: The job as plain JSON.
        tags: ``spec.tracking.tags``.
    """

    id: str
    name: str
    job: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


class Tracker(Protocol):
    """Takes rows. Anything may be raised: whoever calls counts and tells it (see `Aside`).

    The rows of a run that goes on come all again, from the first: a tracker that writes files
    writes them anew, one whose service has kept what it was told leaves that out. So no step is
    there twice.

    Attributes:
        name: What it is called in messages.
    """

    @property
    def name(self) -> str:
        """What it is called in messages."""

    def open(self) -> None:
        """Begin, or go on with the run; it may take a while."""

    def log(self, row: Row, time: float) -> None:
        """Take a row.

        Args:
            row: The row.
            time: When it was made, in seconds since 1970.
        """

    def keep(self) -> None:
        """Make durable what was taken so far."""

    def close(self, *, succeeded: bool) -> None:
        """End the run there, or this attempt at it.

        Args:
            succeeded: Whether the run is complete.
        """


def is_figure(value: object) -> bool:
    """Whether a value of a row is a number that trackers take."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def date_rows(rows: Sequence[Row], clock: Clock) -> list[tuple[Row, float]]:
    """Rows of earlier attempts, each with a time: as if they had all been made until now.

    ``metrics.jsonl`` says how long each step took and not when it was, so that it is the same
    whenever it is made.
    """
    now, dated = clock(), []
    for row in reversed(rows):
        dated.append((row, now.timestamp()))
        seconds = row.get("seconds")
        if isinstance(seconds, int | float):
            now -= timedelta(seconds=seconds)
    return dated[::-1]
