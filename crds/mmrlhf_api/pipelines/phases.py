"""Where the steps of a run are."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["StepPhase"]


class StepPhase(StrEnum):
    """Where a step is."""

    WAITING = "Waiting"
    """Steps that it needs have not succeeded yet, or its inputs are looked up."""
    STARTING = "Starting"
    """It is decided that it runs, and its job is made."""
    RUNNING = "Running"
    """Its job is there and has not ended."""
    SUCCEEDED = "Succeeded"
    """Its job has succeeded, or an earlier run's result was taken."""
    FAILED = "Failed"
    """Its job has failed for good; a retry makes a new one."""
    SKIPPED = "Skipped"
    """A step that it needs has failed, or the run was cancelled before it began."""
