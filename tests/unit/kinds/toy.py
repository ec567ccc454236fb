"""A kind that nothing in mmrlhf knows: it counts the lines of a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mmrlhf_api import DataSource, Input, Job, JobSpec, Kind, Need, register
from mmrlhf_api.base import ApiModel
from mmrlhf_api.progress import ROWS_READ, Course
from mmrlhf_api.rules import Rule
from mmrlhf_api.runs import RunLayout
from mmrlhf_api.scalars import DnsName, PositiveInt
from mmrlhf_api.uris import Uri

if TYPE_CHECKING:
    from mmrlhf_jobs.process.context import TrainingContext


class Base(ApiModel):
    """Lines that were counted before."""

    uri: Uri | None = None
    """File with the number."""
    job_name: DnsName | None = None
    """CountJob whose number is gone on from."""


class CountSpec(JobSpec):
    """What to count, and how far."""

    data: DataSource
    """Lines to count."""
    base: Base = Base()
    """Number to go on from."""
    most: PositiveInt = 1000
    """Largest number to count to."""
    least: PositiveInt = 1
    """Smallest number to be content with."""

    rules = (
        Rule(
            "self.least <= self.most",
            "least must be at most most",
            field="least",
            check=lambda self: self.least <= self.most,
        ),
    )


class CountJob(Job):
    """Counts lines."""

    kind: Literal["CountJob"] = "CountJob"
    """Kind of the job."""
    spec: CountSpec
    """What to do."""


def count(job: CountJob, context: TrainingContext) -> None:
    """Run a job."""
    from mmrlhf_jobs.errors import InputError
    from mmrlhf_jobs.storage.artifacts import ArtifactStore

    lines = Path(job.spec.data.uri).read_text(encoding="utf-8").splitlines()
    if len(lines) < job.spec.least:
        raise InputError(f"spec.least: {job.spec.data.uri} has {len(lines)} lines only")
    store = ArtifactStore(job.spec.artifacts.uri)
    store.write_text(f"{RunLayout.of(job).prefix}/count.json", f"{len(lines)}\n")
    context.progress.emit("step", step=len(lines), totalSteps=len(lines), rowsRead=len(lines))
    context.progress.emit("done", artifacts=store.uri, metrics={"lines": len(lines)})


def _inputs(spec: CountSpec) -> Iterator[Input]:
    yield Input(field="data.uri", uri=spec.data.uri, content="data")
    if spec.base.uri is not None:
        yield Input(field="base.uri", uri=spec.base.uri, content="data")


KIND = register(
    Kind(
        name="CountJob",
        plural="countjobs",
        singular="countjob",
        short_name="cj",
        subcommand="count",
        home="tests.unit.kinds.toy:CountJob",
        course=Course.STAGES,
        columns=(ROWS_READ,),
        runner="tests.unit.kinds.toy:count",
        inputs=_inputs,
        needs=(
            Need(
                field="base.jobName",
                kind="CountJob",
                takes="number",
                output=lambda run: f"{run.prefix}/count.json",
                becomes="base.uri",
                annotation="mmrlhf.io/base-job",
            ),
        ),
    )
)
