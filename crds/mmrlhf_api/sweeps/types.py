"""Sweep: one job with many values of some of its fields, and which of them do best.

A sweep is to its points what a Job of Kubernetes is to its pods: it makes a job for each, a few at
a time, and counts how they end.
"""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import Strict

from mmrlhf_api.base import ApiModel, ServerModel
from mmrlhf_api.constants import Phase
from mmrlhf_api.metadata import ObjectMeta
from mmrlhf_api.progress import STEP
from mmrlhf_api.rules import ListOf, Rule
from mmrlhf_api.scalars import Count, DnsName, Matching, PositiveInt, Text, Timestamp, Word
from mmrlhf_api.status import CamelCase, ConditionedStatus
from mmrlhf_api.sweeps.phases import PointPhase
from mmrlhf_api.templates import OpenSpec, Scalar, TemplateKind

__all__ = [
    "MAX_POINTS",
    "BestSetting",
    "EarlyStop",
    "PointStatus",
    "Report",
    "Sweep",
    "SweepObjective",
    "SweepParameter",
    "SweepSpec",
    "SweepStatus",
    "SweepTemplate",
]

MAX_POINTS = 64
"""Most points of a sweep: each has a place in its status."""

_PART = r"[A-Za-z][A-Za-z0-9]*(\[[0-9]{1,3}\])*"

FieldName = Annotated[
    str,
    MinLen(1),
    MaxLen(200),
    Matching(
        rf"^{_PART}(\.{_PART})*$",
        "the path of a field below template.spec, such as objective.beta.w",
    ),
]


class SweepParameter(ApiModel):
    """A field, and the values that it takes in turn."""

    field: FieldName
    """Path of the field below template.spec, such as objective.beta.w or training.seed."""
    values: Annotated[
        tuple[Scalar, ...], Strict(strict=False), MinLen(1), MaxLen(MAX_POINTS), ListOf("atomic")
    ]
    """Its values: strings, numbers, true or false."""


class FieldValue(ApiModel):
    """The value of a field at a point."""

    field: FieldName
    """Path of the field below template.spec."""
    value: Scalar
    """Its value: a string, a number, true or false."""


class SweepPoint(ApiModel):
    """A point beside the grid."""

    values: Annotated[
        tuple[FieldValue, ...],
        Strict(strict=False),
        MinLen(1),
        MaxLen(16),
        ListOf("map", "field"),
    ]
    """Values of fields; all others are those of the template."""


class SweepTemplate(ApiModel):
    """The job of all points."""

    kind: TemplateKind
    """Kind of the jobs."""
    spec: OpenSpec
    """Spec of the jobs, into which the values of a point are put. Jobs that share artifacts.uri
    share what they would all compute: reference log-probabilities and scores of a reward model."""


class SweepObjective(ApiModel):
    """What makes a point better than another one."""

    metric: Word
    """Name of a final figure of the jobs, as in their status.metrics: of an MMDPOJob
    afterPreferenceAccuracy and the like, of a RewardTrainJob afterAcc; those are held-out data."""
    goal: Literal["maximize", "minimize"] = "maximize"
    """Whether more of it is better, or less."""
    mean_over: (
        Annotated[tuple[FieldName, ...], Strict(strict=False), MaxLen(16), ListOf("atomic")] | None
    ) = None
    """Fields that make no other setting: points that differ in these alone are repetitions, and
    count by their mean. Without it, training.seed; an empty list: none."""

    @property
    def repeated(self) -> tuple[str, ...]:
        """What `mean_over` comes to."""
        return ("training.seed",) if self.mean_over is None else self.mean_over


class EarlyStop(ApiModel):
    """Ends points that do badly at some steps, so that others take their place.

    Asynchronous successive halving, as of Li et al. 2020 (A System for Massively Parallel
    Hyperparameter Tuning), in its stopping form: nothing is taken up again. At each of the steps, a
    point goes on while it is among the best part of those that were measured there.
    """

    steps: Annotated[
        tuple[PositiveInt, ...], Strict(strict=False), MinLen(1), MaxLen(8), ListOf("atomic")
    ]
    """Optimizer steps at which points are compared; multiples of training.evaluateEverySteps."""
    keep: Annotated[float, Gt(0.0), Lt(1.0)] = 0.5
    """Part of the points measured at a step that go on from there, rounded up."""
    at_least: Annotated[int, Ge(2), Le(MAX_POINTS)] = 4
    """Points that must have been measured at a step before any is ended there."""

    rules = (
        Rule(
            "self.steps.all(i, self.steps.filter(j, j == i).size() == 1)",
            "steps must differ",
            field="steps",
            check=lambda self: len(set(self.steps)) == len(self.steps),
        ),
    )


class SweepSpec(ApiModel):
    """What to vary; only suspend, cancel and parallelism may change after the sweep was created."""

    template: SweepTemplate
    """The job of all points."""
    parameters: Annotated[
        tuple[SweepParameter, ...], Strict(strict=False), MaxLen(8), ListOf("map", "field")
    ] = ()
    """The grid: each value of the first field with each of the second, and so on; the last one
    changes fastest."""
    points: Annotated[
        tuple[SweepPoint, ...], Strict(strict=False), MaxLen(MAX_POINTS), ListOf("atomic")
    ] = ()
    """Points beside the grid, after it; at most 64 in all."""
    objective: SweepObjective
    """What makes a point better than another one."""
    parallelism: Annotated[int, Ge(1), Le(MAX_POINTS)] = 4
    """Jobs at a time; on a laptop always one."""
    early_stop: EarlyStop | None = None
    """When points end that do badly; without it, all run to their end."""
    suspend: bool = False
    """Stop the jobs of all points and keep them; they go on once this is false."""
    cancel: bool = False
    """Cancel the sweep and its jobs permanently; it fails with reason Cancelled."""

    rules = (
        Rule("self.cancel || !oldSelf.cancel", "cancel cannot be taken back; create a new sweep"),
        Rule(
            "(has(self.parameters) && self.parameters.size() > 0)"
            " || (has(self.points) && self.points.size() > 0)",
            "parameters: give fields with values, or points",
            field="parameters",
            check=lambda self: bool(self.parameters or self.points),
            detail="give fields with values, or points",
        ),
    )


class Report(ServerModel):
    """What a point had reached at one of the steps of spec.earlyStop."""

    step: Count
    """That step; what is first heard of after it counts."""
    value: float
    """The held-out figure that spec.objective is about."""


class PointStatus(ServerModel):
    """State of a point."""

    name: Word
    """Its number, from 00; the job is named by sweep and number."""
    values: Text
    """Its values, in words."""
    phase: Annotated[PointPhase, Strict(strict=False)] = PointPhase.WAITING
    """Where it is."""
    reason: CamelCase | None = None
    """Why it is there, in one word."""
    message: Text | None = None
    """Why it is there, in a sentence."""
    job: DnsName | None = None
    """Name of its job, once it was decided that it runs."""
    uid: Word | None = None
    """Identity of its job, once it was seen."""
    value: float | None = None
    """The figure that spec.objective names, once the job has succeeded."""
    reports: Annotated[
        tuple[Report, ...], Strict(strict=False), MaxLen(8), ListOf("map", STEP.name)
    ] = ()
    """What it had reached at the steps of spec.earlyStop."""
    start_time: Timestamp | None = None
    """When its job was made."""
    end_time: Timestamp | None = None
    """When it ended."""


class BestSetting(ServerModel):
    """The best setting so far."""

    values: Text
    """Its values, in words, without those of spec.objective.meanOver."""
    value: float
    """Mean of the figure over its points."""
    spread: float | None = None
    """Standard deviation over its points (of a sample), where there are several."""
    points: Annotated[
        tuple[Word, ...], Strict(strict=False), MaxLen(MAX_POINTS), ListOf("atomic")
    ] = ()
    """Its points that have succeeded."""


class SweepStatus(ConditionedStatus):
    """State of a sweep as last observed; written by the operator only."""

    phase: Annotated[Phase, Strict(strict=False)] | None = None
    """Where the sweep is: Pending, Running, Suspended, Succeeded or Failed."""
    reason: CamelCase | None = None
    """Why it is there, in one word."""
    message: Text | None = None
    """Why it is there, in a sentence."""
    summary: Word | None = None
    """Points that have ended, of all: for kubectl's column."""
    running: Annotated[str, MaxLen(4096)] | None = None
    """Points whose jobs run, for kubectl's column."""
    best: BestSetting | None = None
    """The best setting so far."""
    start_time: Timestamp | None = None
    """When the first point began."""
    completion_time: Timestamp | None = None
    """When the sweep succeeded or failed."""
    points: Annotated[
        tuple[PointStatus, ...], Strict(strict=False), MaxLen(MAX_POINTS), ListOf("map", "name")
    ] = ()
    """Points in the order of the grid."""


class Sweep(ApiModel):
    """Runs one job with many values of some of its fields, and says which do best."""

    api_version: Literal["mmrlhf.io/v1alpha1"] = "mmrlhf.io/v1alpha1"
    """Version of the API."""
    kind: Literal["Sweep"] = "Sweep"
    """Kind of the object."""
    metadata: ObjectMeta
    """Name, namespace, labels and annotations."""
    status: SweepStatus | None = None
    """State of the sweep; written by the operator."""
    spec: SweepSpec
    """What to vary."""
