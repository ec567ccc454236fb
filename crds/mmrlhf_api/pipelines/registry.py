"""What an API server is told of pipelines and runs."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from mmrlhf_api.kinds.resource import PrinterColumn, Resource
from mmrlhf_api.pipelines.types import AlignmentPipeline, AlignmentRun

__all__ = ["PIPELINE", "RESOURCES", "RUN"]

_AGE = PrinterColumn(
    title="Age",
    path=".metadata.creationTimestamp",
    about="Time since it was created",
    type="date",
)

RUN: Final = Resource(
    name="AlignmentRun",
    plural="alignmentruns",
    singular="alignmentrun",
    short_name="ar",
    model=AlignmentRun,
    columns=(
        PrinterColumn(title="Phase", path=".status.phase", about="Where the run is"),
        PrinterColumn(title="Steps", path=".status.summary", about="Steps done, of all"),
        PrinterColumn(title="Running", path=".status.running", about="Steps whose jobs run"),
        _AGE,
        PrinterColumn(title="Pipeline", path=".spec.pipeline", about="Its pipeline", wide=True),
        PrinterColumn(title="Reason", path=".status.reason", about="Why", wide=True),
        PrinterColumn(
            title="Message", path=".status.message", about="Why, in a sentence", wide=True
        ),
    ),
    mutable=frozenset({"suspend", "cancel", "retry"}),
)
"""Runs."""

PIPELINE: Final = Resource(
    name="AlignmentPipeline",
    plural="alignmentpipelines",
    singular="alignmentpipeline",
    short_name="ap",
    model=AlignmentPipeline,
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
)
"""Pipelines."""

RESOURCES: Final[Mapping[str, Resource]] = MappingProxyType(
    {one.name: one for one in (PIPELINE, RUN)}
)
"""Both, by the ``kind`` of their objects."""
