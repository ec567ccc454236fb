"""AlignmentPipeline and AlignmentRun: jobs of one purpose, each of which takes what others leave.

A pipeline is to its runs what a CronJob is to its Jobs: it says how they are made. A run holds the
steps and parameters as they were when it was made, so that a change of the pipeline is for the next
one.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import Strict

from mmrlhf_api.base import ApiModel, ServerModel
from mmrlhf_api.constants import Phase
from mmrlhf_api.metadata import ObjectMeta
from mmrlhf_api.pipelines.phases import StepPhase
from mmrlhf_api.rules import ListOf, Rule
from mmrlhf_api.scalars import Count, DnsName, JobName, Matching, Text, Timestamp, Word
from mmrlhf_api.schedule import Schedule, ScheduleStatus
from mmrlhf_api.status import CamelCase, ConditionedStatus, OutputStatus
from mmrlhf_api.storage import ArtifactStore
from mmrlhf_api.templates import OpenSpec, Scalar, TemplateKind

__all__ = [
    "AlignmentPipeline",
    "AlignmentPipelineSpec",
    "AlignmentPipelineStatus",
    "AlignmentRun",
    "AlignmentRunSpec",
    "AlignmentRunStatus",
    "CachedFrom",
    "Parameter",
    "ParameterValue",
    "PipelineStep",
    "RunCondition",
    "StepName",
    "StepStatus",
    "Steps",
]

MAX_STEPS = 64
"""Most steps of a pipeline."""

StepName = Annotated[
    str,
    MinLen(1),
    MaxLen(40),
    Matching(
        "^[a-z0-9]+(-[a-z0-9]+)*$",
        "lower-case letters, digits and single '-' between them",
    ),
]
"""Name of a step; `mmrlhf_api.pipelines.names` has the names of its jobs, and how long they are."""

ParameterName = Annotated[
    str,
    MinLen(1),
    MaxLen(63),
    Matching("^[A-Za-z][A-Za-z0-9_-]*$", "a letter, then letters, digits, '_' and '-'"),
]


class Parameter(ApiModel):
    """A value that steps refer to as `${parameters.NAME}`."""

    name: ParameterName
    """Its name."""
    default: Scalar
    """Its value where a run gives no other: a string, a number, true or false."""


class ParameterValue(ApiModel):
    """The value that a parameter has in a run."""

    name: ParameterName
    """Its name."""
    value: Scalar
    """Its value: a string, a number, true or false."""


class PipelineStep(ApiModel):
    """A job of a pipeline."""

    name: StepName
    """Its name, by which others refer to what it leaves: `${steps.NAME.OUTPUT}`."""
    kind: TemplateKind
    """Kind of its job."""
    spec: OpenSpec
    """Spec of its job, in which references may stand: `${steps.judge.model}` for the URI of an
    output, `${parameters.epochs}` for a parameter, `$${` for a plain `${`."""
    needs: Annotated[
        tuple[StepName, ...], Strict(strict=False), MaxLen(MAX_STEPS), ListOf("atomic")
    ] = ()
    """Steps that must have succeeded first, besides those whose outputs it takes."""
    cache: bool = True
    """Whether what an earlier run of the pipeline made of the same inputs, spec and image is taken
    in place of a new job."""


Steps = Annotated[
    tuple[PipelineStep, ...],
    Strict(strict=False),
    MinLen(1),
    MaxLen(MAX_STEPS),
    ListOf("map", "name"),
]


class AlignmentRunSpec(ApiModel):
    """What to run; only suspend, cancel and retry may change after the run was created."""

    pipeline: JobName | None = None
    """Pipeline that the run is of: its earlier runs are where results may be taken from."""
    parameters: Annotated[
        tuple[ParameterValue, ...], Strict(strict=False), MaxLen(64), ListOf("map", "name")
    ] = ()
    """Values of all parameters."""
    artifacts: ArtifactStore | None = None
    """Where steps write that do not say so themselves."""
    steps: Steps
    """The steps, as they were when the run was made."""
    suspend: bool = False
    """Stop the jobs of all steps and keep them; they go on once this is false."""
    cancel: bool = False
    """Cancel the run and its jobs permanently; it fails with reason Cancelled."""
    retry: Annotated[int, Ge(0), Le(99)] = 0
    """Raise it by one to run what has failed once more: steps that succeeded are kept."""

    rules = (
        Rule("self.cancel || !oldSelf.cancel", "cancel cannot be taken back; create a new run"),
        Rule("self.retry >= oldSelf.retry", "retry cannot be lowered; raise it to retry once more"),
    )


class CachedFrom(ServerModel):
    """Where the result of a step that did not run comes from."""

    run: DnsName
    """Run that made it."""
    job: DnsName
    """Job of that run."""
    manifest: Annotated[str, MaxLen(4096)]
    """Record of that job, which was there when the result was taken."""


class StepStatus(ServerModel):
    """State of a step."""

    name: Word
    """Name of the step."""
    kind: Word
    """Kind of its job."""
    phase: Annotated[StepPhase, Strict(strict=False)] = StepPhase.WAITING
    """Where it is."""
    reason: CamelCase | None = None
    """Why it is there, in one word."""
    message: Text | None = None
    """Why it is there, in a sentence."""
    job: DnsName | None = None
    """Name of its job, once it was decided that it runs."""
    uid: Word | None = None
    """Identity of its job, once it was seen."""
    tries: Count = 0
    """How often it was run anew by a retry."""
    key: Annotated[str, MaxLen(64)] | None = None
    """Digest of its inputs, spec and image; absent where an input cannot be looked at from the
    cluster."""
    cached_from: CachedFrom | None = None
    """Where its result comes from, if it did not run."""
    manifest: Annotated[str, MaxLen(4096)] | None = None
    """Record of its job, once it has succeeded."""
    outputs: Annotated[
        tuple[OutputStatus, ...], Strict(strict=False), MaxLen(32), ListOf("map", "name")
    ] = ()
    """What it left, by name."""
    start_time: Timestamp | None = None
    """When its job was made."""
    end_time: Timestamp | None = None
    """When it succeeded, failed or was skipped."""


class RunCondition(StrEnum):
    """Types of the conditions of runs and pipelines; the set is closed.

    The last three are those that kstatus knows, by which Flux, Argo CD and others tell how any
    object gets on (https://github.com/kubernetes-sigs/cli-utils, pkg/kstatus).
    """

    ACCEPTED = "Accepted"
    """The spec is valid: steps, references and types."""
    RUNNING = "Running"
    """Jobs of steps run, or are about to."""
    BLOCKED = "Blocked"
    """A job cannot be made as things are; absent where none ever could not."""
    SUSPENDED = "Suspended"
    """Stopped by spec.suspend."""
    SUCCEEDED = "Succeeded"
    """All steps have succeeded."""
    FAILED = "Failed"
    """A step has failed, and nothing runs any more; a retry takes it back."""
    READY = "Ready"
    """Of a run: all steps have succeeded. Of a pipeline: runs can be made of it."""
    RECONCILING = "Reconciling"
    """Of a run: it has not ended and is not suspended."""
    STALLED = "Stalled"
    """It gets no further until somebody changes it: it has failed, or is not valid."""


class AlignmentRunStatus(ConditionedStatus):
    """State of a run as last observed; written by the operator only."""

    phase: Annotated[Phase, Strict(strict=False)] | None = None
    """Where the run is: Pending, Running, Suspended, Succeeded or Failed."""
    reason: CamelCase | None = None
    """Why it is there, in one word."""
    message: Text | None = None
    """Why it is there, in a sentence."""
    summary: Word | None = None
    """Steps that have succeeded, of all: for kubectl's column."""
    running: Annotated[str, MaxLen(4096)] | None = None
    """Names of the steps whose jobs run, for kubectl's column."""
    retried: Count = 0
    """The spec.retry that was carried out last."""
    start_time: Timestamp | None = None
    """When the first step began."""
    completion_time: Timestamp | None = None
    """When the run succeeded or failed."""
    steps: Annotated[
        tuple[StepStatus, ...], Strict(strict=False), MaxLen(MAX_STEPS), ListOf("map", "name")
    ] = ()
    """Steps in the order of the spec."""


class AlignmentRun(ApiModel):
    """Runs jobs that take what others leave, each as soon as what it takes is there."""

    api_version: Literal["mmrlhf.io/v1alpha1"] = "mmrlhf.io/v1alpha1"
    """Version of the API."""
    kind: Literal["AlignmentRun"] = "AlignmentRun"
    """Kind of the object."""
    metadata: ObjectMeta
    """Name, namespace, labels and annotations."""
    status: AlignmentRunStatus | None = None
    """State of the run; written by the operator."""
    spec: AlignmentRunSpec
    """What to run."""


class AlignmentPipelineSpec(ApiModel):
    """How runs are made; a change is for the next run."""

    parameters: Annotated[
        tuple[Parameter, ...], Strict(strict=False), MaxLen(64), ListOf("map", "name")
    ] = ()
    """Values that steps refer to and that a run may change."""
    artifacts: ArtifactStore | None = None
    """Where steps write that do not say so themselves."""
    steps: Steps
    """Jobs that a run makes."""
    schedule: Schedule | None = None
    """When runs start by themselves; without it, each is started by hand."""
    suspend: bool = False
    """Start no new runs by schedule; those that there are go on. Times that pass meanwhile count as
    missed."""

    rules = (
        Rule(
            "!has(self.schedule) || !has(self.schedule.triggers) || has(self.artifacts)",
            "artifacts: schedule.triggers look into the store that it names; give it",
            field="artifacts",
            check=lambda self: (
                self.schedule is None
                or self.schedule.triggers is None
                or self.artifacts is not None
            ),
            detail="schedule.triggers look into the store that it names; give it",
        ),
    )


class AlignmentPipelineStatus(ConditionedStatus):
    """State of a pipeline as last observed; written by the operator only."""

    schedule: ScheduleStatus | None = None
    """How it gets on with its schedule."""


class AlignmentPipeline(ApiModel):
    """Says of which steps runs are made."""

    api_version: Literal["mmrlhf.io/v1alpha1"] = "mmrlhf.io/v1alpha1"
    """Version of the API."""
    kind: Literal["AlignmentPipeline"] = "AlignmentPipeline"
    """Kind of the object."""
    metadata: ObjectMeta
    """Name, namespace, labels and annotations."""
    status: AlignmentPipelineStatus | None = None
    """State of the pipeline; written by the operator."""
    spec: AlignmentPipelineSpec
    """What runs are made of."""
