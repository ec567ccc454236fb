"""Progress as lines for people, in the log of the process: what ``mmrlhfctl logs`` shows."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TextIO

__all__ = ["LogProgress", "describe"]

_FIGURES: Mapping[str, str] = {
    "loss": "loss {:.4f}",
    "margin": "margin {:.4f}",
    "accuracy": "accuracy {:.3f}",
    "tokensPerSecond": "{:,.0f} tokens/s",
    "rowsRead": "{:,.0f} rows read",
    "mediaEmbedded": "{:,.0f} media embedded",
    "rowsSelected": "{:,.0f} rows selected",
    "itemsPerSecond": "{:,.0f} a second",
    "etaSeconds": "{:.0f} s left",
}


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
            stream.write(describe(event, fields) + "\n")
            stream.flush()
        except (OSError, ValueError):
            return

    def close(self) -> None:
        """Every event is written already."""


def describe(event: str, fields: Mapping[str, object]) -> str:
    """An event in one line."""
    match event:
        case "step":
            total = f"/{fields['totalSteps']}" if fields.get("totalSteps") is not None else ""
            parts = [f"step {fields.get('step')}{total}"]
            parts += [
                text.format(value)
                for name, text in _FIGURES.items()
                if isinstance(value := fields.get(name), int | float)
            ]
            return "  ".join(parts)
        case "phase":
            return ": ".join(str(fields[key]) for key in ("phase", "message") if fields.get(key))
        case "notice":
            return f"note: {fields.get('message')}"
        case "done":
            return f"done: artifacts are at {fields.get('artifacts')}"
        case _:
            return " ".join([event, *(f"{key}={value}" for key, value in fields.items())])
