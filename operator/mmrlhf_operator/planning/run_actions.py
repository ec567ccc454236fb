"""What the plan of a run asks to be done, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mmrlhf_api import Job
from mmrlhf_api.pipelines.types import AlignmentRunStatus

__all__ = ["CreateJob", "LookForRecord", "LookUpInputs", "PatchJob", "RunAction", "RunPlan"]


@dataclass(frozen=True, kw_only=True)
class CreateJob:
    """Create the job of a step; one that exists and is the run's own is as good."""

    step: str
    manifest: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class PatchJob:
    """Change a job of the run, unless another one bears its name by now.

    Attributes:
        kind: Its kind.
        name: Its name.
        uid: Its identity.
        spec: What to merge into its ``runPolicy``.
        annotations: What to merge into its annotations.
    """

    kind: str
    name: str
    uid: str
    policy: Mapping[str, bool]
    annotations: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class LookUpInputs:
    """Find out what a step reads.

    Attributes:
        step: The step.
        job: Its job; names where it may read, and by what credentials.
        uris: What to look at, by field.
    """

    step: str
    job: Job
    uris: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class LookForRecord:
    """Find out whether the record of an earlier job is still there.

    Attributes:
        step: The step that would take its result.
        job: The step's job; names where it may read, and by what credentials.
        uri: Of the record.
    """

    step: str
    job: Job
    uri: str


RunAction = CreateJob | PatchJob | LookUpInputs | LookForRecord


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """What to do about a run: write its status, then act, in this order.

    Attributes:
        status: Status to write, if it differs from that of the run.
        actions: What to do.
        requeue_after: Seconds until it is looked at again; None when something will tell.
    """

    status: AlignmentRunStatus
    actions: tuple[RunAction, ...] = ()
    requeue_after: float | None = None
