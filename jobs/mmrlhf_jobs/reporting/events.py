"""Events of a job and where they go."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias

__all__ = ["NoProgress", "Progress", "Tell", "event_object", "tell_in_log"]

Tell: TypeAlias = Callable[[str], None]
"""Takes a sentence for whoever runs something."""


def tell_in_log(message: str) -> None:
    """Warn in the log ``mmrlhf``, which reaches standard error where nobody set logs up."""
    logging.getLogger("mmrlhf").warning(message)


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


def event_object(event: str, fields: Mapping[str, object]) -> dict[str, object]:
    """An event as JSON can say it: numbers that are not finite become null."""
    finite = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in fields.items()
    }
    return {"event": event, **finite}
