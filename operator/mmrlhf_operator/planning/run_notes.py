"""Events about a run of a pipeline, read from its status alone; see `notes`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from mmrlhf_api.constants import Phase, Reason
from mmrlhf_api.pipelines.phases import StepPhase
from mmrlhf_api.pipelines.types import AlignmentRunStatus, RunCondition, StepStatus
from mmrlhf_operator.kube.timestamps import format_time
from mmrlhf_operator.planning.actions import Note
from mmrlhf_operator.planning.conditions import find

__all__ = ["run_notes"]


def run_notes(status: AlignmentRunStatus) -> tuple[Note, ...]:
    """Return what is worth an event, the oldest first.

    A step that is skipped is told by the end of the run: its need has failed, which is told.
    """
    found = [note for step in status.steps for note in _of_step(step)]
    found += [*_blocked(status), *_end(status)]
    return tuple(sorted(found, key=lambda note: note.at))


def _of_step(step: StepStatus) -> Iterator[Note]:
    if step.start_time is None:
        return
    if step.cached_from is not None:
        yield Note(
            type="Normal",
            reason="StepTaken",
            message=f"step {step.name}: {step.message}",
            at=step.start_time,
            key=f"taken/{step.name}/{format_time(step.start_time)}",
        )
        return
    if step.uid is None:
        return  # its job was not seen yet, and may never be made
    yield Note(
        type="Normal",
        reason="StepStarted",
        message=f"step {step.name} runs as {step.kind} {step.job}",
        at=step.start_time,
        key=f"started/{step.job}",
    )
    if step.end_time is not None and step.phase in {StepPhase.SUCCEEDED, StepPhase.FAILED}:
        failed = step.phase is StepPhase.FAILED
        why = f" ({step.reason})" if failed else ""
        yield Note(
            type=_type(step.reason, failed=failed),
            reason=f"Step{step.phase}",
            message=f"step {step.name}{why}: {step.message}",
            at=step.end_time,
            key=f"ended/{step.job}",
        )


def _blocked(status: AlignmentRunStatus) -> Iterator[Note]:
    found = find(status.conditions, RunCondition.BLOCKED)
    if found is not None and found.status == "True":
        time = format_time(found.last_transition_time)
        yield Note(
            type="Warning",
            reason=found.reason,
            message=found.message,
            at=found.last_transition_time,
            key=f"blocked/{found.reason}/{time}",
        )


def _end(status: AlignmentRunStatus) -> Iterator[Note]:
    if status.completion_time is None or status.phase not in {Phase.SUCCEEDED, Phase.FAILED}:
        return
    failed = status.phase is Phase.FAILED
    yield Note(
        type=_type(status.reason, failed=failed),
        reason=f"Run{status.phase}",
        message=str(status.message),
        at=status.completion_time,
        key=f"over/{status.phase}/{format_time(status.completion_time)}",
    )


def _type(reason: str | None, *, failed: bool) -> Literal["Normal", "Warning"]:
    """Whether an end is a warning: what somebody cancelled is none."""
    return "Warning" if failed and reason != Reason.CANCELLED else "Normal"
