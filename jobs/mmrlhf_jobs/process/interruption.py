"""SIGTERM and SIGINT as a request to save and leave, not as a death."""

from __future__ import annotations

import signal
from types import FrameType

__all__ = ["Interrupted", "Interruption"]


class Interrupted(Exception):  # noqa: N818 - not an error: the job was asked to stop
    """The job was asked to stop; everything worth keeping has been saved.

    Args:
        message: What was saved and how to go on.
    """


class Interruption:
    """Remembers that a signal asked the process to stop; the trainer looks between steps."""

    def __init__(self) -> None:
        self.requested = False

    def listen(self) -> None:
        """Take over SIGTERM and SIGINT of this process."""
        signal.signal(signal.SIGTERM, self._remember)
        signal.signal(signal.SIGINT, self._remember)

    def _remember(self, signum: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self.requested = True
