"""What an API server is told of pipelines, their runs, and sweeps."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from mmrlhf_api.kinds.resource import PrinterColumn, Resource

__all__ = ["PIPELINE", "RESOURCES", "RUN", "SWEEP"]

_AGE = PrinterColumn(
    title="Age",
    path=".metadata.creationTimestamp",
    about="Time since it was created",
    type="date",
)

_WHY = (
    PrinterColumn(title="Reason", path=".status.reason", about="Why", wide=True),
    PrinterColumn(title="Message", path=".status.message", about="Why, in a sentence", wide=True),
)

RUN: Final = Resource(
    name="AlignmentRun",
    plural="alignmentruns",
    singular="alignmentrun",
    short_name="ar",
    home="mmrlhf_api.pipelines.types:AlignmentRun",
    columns=(
        PrinterColumn(title="Phase", path=".status.phase", about="Where the run is"),
        PrinterColumn(title="Steps", path=".status.summary", about="Steps done, of all"),
        PrinterColumn(title="Running", path=".status.running", about="Steps whose jobs run"),
        _AGE,
        PrinterColumn(title="Pipeline", path=".spec.pipeline", about="Its pipeline", wide=True),
        *_WHY,
    ),
    mutable=frozenset({"suspend", "cancel", "retry"}),
    word="run",
)
"""Runs."""

PIPELINE: Final = Resource(
    name="AlignmentPipeline",
    plural="alignmentpipelines",
    singular="alignmentpipeline",
    short_name="ap",
    home="mmrlhf_api.pipelines.types:AlignmentPipeline",
    columns=(
        PrinterColumn(
            title="Ready",
            path='.status.conditions[?(@.type=="Ready")].status',
            about="Whether runs can be made of it",
        ),
        PrinterColumn(
            title="Schedule", path=".spec.schedule.cron", about="When it runs by the clock"
        ),
        PrinterColumn(
            title="Suspend", path=".spec.suspend", about="Whether none are made", type="boolean"
        ),
        PrinterColumn(
            title="Last Run",
            path=".status.schedule.lastRun.time",
            about="Time of the latest run that started by itself",
            type="date",
        ),
        _AGE,
        PrinterColumn(
            title="Next",
            path=".status.schedule.nextScheduleTime",
            about="When the next one starts",
            wide=True,
        ),
        PrinterColumn(
            title="Message",
            path='.status.conditions[?(@.type=="Ready")].message',
            about="Why, in a sentence",
            wide=True,
        ),
    ),
    mutable=None,
    word="pipeline",
)
"""Pipelines."""

SWEEP: Final = Resource(
    name="Sweep",
    plural="sweeps",
    singular="sweep",
    short_name="sw",
    home="mmrlhf_api.sweeps.types:Sweep",
    columns=(
        PrinterColumn(title="Phase", path=".status.phase", about="Where the sweep is"),
        PrinterColumn(title="Points", path=".status.summary", about="Points that ended, of all"),
        PrinterColumn(title="Running", path=".status.running", about="Points whose jobs run"),
        PrinterColumn(
            title="Best", path=".status.best.values", about="Values of the best setting so far"
        ),
        PrinterColumn(
            title="Value", path=".status.best.value", about="Mean of its figure", type="number"
        ),
        _AGE,
        PrinterColumn(
            title="Metric", path=".spec.objective.metric", about="What is compared", wide=True
        ),
        *_WHY,
    ),
    mutable=frozenset({"suspend", "cancel", "parallelism"}),
    word="sweep",
)
"""Sweeps."""

RESOURCES: Final[Mapping[str, Resource]] = MappingProxyType(
    {one.name: one for one in (PIPELINE, RUN, SWEEP)}
)
"""All, by the ``kind`` of their objects."""
