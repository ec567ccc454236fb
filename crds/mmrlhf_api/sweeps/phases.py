"""Where the points of a sweep are."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["PointPhase"]


class PointPhase(StrEnum):
    """Where a point is."""

    WAITING = "Waiting"
    """Others run; it is not its turn yet."""
    STARTING = "Starting"
    """It is decided that it runs, and its job is made."""
    RUNNING = "Running"
    """Its job is there and has not ended."""
    SUCCEEDED = "Succeeded"
    """Its job has succeeded."""
    FAILED = "Failed"
    """Its job has failed for good."""
    STOPPED = "Stopped"
    """It did badly and was ended by spec.earlyStop."""
    SKIPPED = "Skipped"
    """The sweep was cancelled before it began."""
