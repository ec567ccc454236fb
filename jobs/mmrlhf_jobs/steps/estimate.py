"""How much memory a training takes, before it starts: no weight is read and nothing is trained."""

from __future__ import annotations

from typing import Annotated, Literal

from rich.console import Console

from mmrlhf_api import TrainJob
from mmrlhf_api.amounts import Quantity
from mmrlhf_api.jobfile import load_job
from mmrlhf_api.quantities import parse_quantity
from mmrlhf_api.scalars import PositiveInt
from mmrlhf_api.steps.marks import POSITIONAL
from mmrlhf_jobs.errors import SpecError
from mmrlhf_jobs.process.store_options import storage_options
from mmrlhf_jobs.steps.spec import Place, StepSpec
from mmrlhf_jobs.steps.step import Outcome, Step, StepContext

__all__ = ["STEP", "EstimateSpec"]


class EstimateSpec(StepSpec):
    """Which job, and on what card."""

    step: Literal["estimate"] = "estimate"
    """Name of the step."""
    job_file: Annotated[Place, POSITIONAL]
    """The job, YAML."""
    gpu_memory: Quantity = "79Gi"
    """Memory of one GPU, for jobs that have GPUs; 79Gi is what an H800 or H100 of 80 GB has."""
    tokens: PositiveInt | None = None
    """Tokens of the largest query with all of its responses; without it, the data is looked at."""
    queries: PositiveInt = 256
    """Queries to look at, from the first on, for the largest of them."""
    output: Literal["table", "json"] = "table"
    """For people, or for programs."""


def _run(spec: EstimateSpec, context: StepContext) -> Outcome:
    """Estimate, and say what to change.

    Raises:
        SpecError: The job trains no model.
        JobError: Its model or its data cannot be read.
    """
    job = load_job(spec.job_file)
    if not isinstance(job, TrainJob):
        raise SpecError(f"{spec.job_file}: a {job.kind} trains no model")
    # torch takes seconds to import: a mistake in the job file is told before that.
    from mmrlhf_jobs.models.folders import fetch_description
    from mmrlhf_jobs.training.memory.dry_run import dry_run
    from mmrlhf_jobs.training.memory.estimate import Card
    from mmrlhf_jobs.training.memory.table import make_table, sentences

    options = storage_options(job)
    context.tell("estimate", f"reading {job.spec.model.uri}")
    folder = fetch_description(job.spec.model.uri, context.scratch, options)
    gpus = job.spec.resources.gpus_per_node > 0
    found = dry_run(
        job,
        folder,
        card=Card(int(parse_quantity(spec.gpu_memory)) if gpus else None),
        tokens=spec.tokens,
        queries=spec.queries,
        options=options,
    )
    if spec.output == "json":
        context.show(found.to_dict())
    else:
        console = Console()
        console.print(make_table(found))
        for sentence in sentences(found):
            console.print(sentence, highlight=False, markup=False, emoji=False)
    return Outcome(job.spec.model.uri, {"perProcessBytes": found.estimate.per_process})


STEP = Step(
    "Say how much memory a training takes, and what to change if it does not fit.",
    EstimateSpec,
    _run,
    computes=True,
)
