"""Progress as lines for people, in the log of the process: what ``mmrlhfctl logs`` shows."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TextIO

from mmrlhf_api.plain_text import make_safe
from mmrlhf_api.progress import FIGURES, STEP, TOTAL_STEPS, EventName

__all__ = ["LogProgress", "describe"]


class LogProgress:
    """Writes each event as one line.

    Args:
        stream: Where to; by default standard output as it is at each event.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    def emit(self, event: str, **fields: object) -> None:
        """Write the event. A log that cannot be written must not end the job."""
        stream = self._stream or sys.stdout
        try:
            stream.write(make_safe(describe(event, fields)) + "\n")
            stream.flush()
        except (OSError, ValueError):
            return

    def close(self) -> None:
        """Every event is written already."""


def describe(event: str, fields: Mapping[str, object]) -> str:
    """An event in one line."""
    match event:
        case EventName.STEP:
            total = fields.get(TOTAL_STEPS.name)
            parts = [f"step {fields.get(STEP.name)}" + ("" if total is None else f"/{total}")]
            parts += [
                figure.describe(value)
                for figure in FIGURES
                if figure.text and isinstance(value := fields.get(figure.name), int | float)
            ]
            return "  ".join(parts)
        case EventName.PHASE:
            return ": ".join(str(fields[key]) for key in ("phase", "message") if fields.get(key))
        case EventName.NOTICE:
            return f"note: {fields.get('message')}"
        case EventName.DONE:
            return f"done: artifacts are at {fields.get('artifacts')}"
        case _:
            return " ".join([event, *(f"{key}={value}" for key, value in fields.items())])
