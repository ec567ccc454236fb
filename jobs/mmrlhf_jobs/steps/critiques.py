"""Human comments expanded into critiques by a model server (paper 3.2 and Table 7)."""

from __future__ import annotations

from typing import Annotated, Literal

from mmrlhf_api.steps.asking import CritiquesPart, CritiquesSettings
from mmrlhf_api.steps.marks import POSITIONAL
from mmrlhf_jobs.data.sources import Source
from mmrlhf_jobs.data.stream import stream_records
from mmrlhf_jobs.data.writers import write_records
from mmrlhf_jobs.endpoints.critiques import CritiqueInquiry
from mmrlhf_jobs.endpoints.inquiry import InquiryReport, open_askers, run_inquiry
from mmrlhf_jobs.endpoints.settings import load_endpoints
from mmrlhf_jobs.errors import SpecError
from mmrlhf_jobs.steps.asking import ask
from mmrlhf_jobs.steps.spec import JournaledSpec, Place
from mmrlhf_jobs.steps.step import JobPlace, Outcome, Step, StepContext

__all__ = ["STEP", "CritiquesSpec"]


class CritiquesSpec(JournaledSpec, CritiquesSettings):
    """Whose comments to expand, and by whom."""

    step: Literal["critiques"] = "critiques"
    """Name of the step."""
    out: Annotated[Place, POSITIONAL]
    """File to write, *.jsonl or *.parquet."""
    endpoints: Place
    """YAML file of the one server to ask."""


def _run(spec: CritiquesSpec, context: StepContext) -> Outcome:
    """Expand what is not expanded yet.

    Raises:
        InputError: The records or the file of endpoints are wrong.
        EndpointError: The server cannot be used, or too many of its answers cannot.
    """
    return ask(lambda report: _expand(spec, context, report), spec.out, context)


async def _expand(spec: CritiquesSpec, context: StepContext, report: InquiryReport) -> None:
    endpoints = load_endpoints(spec.endpoints, context.storage)
    if len(endpoints) > 1:
        raise SpecError(f"{spec.endpoints}: critiques are of one endpoint, not {len(endpoints)}")
    source = Source(spec.records, storage=context.storage)
    context.tell("ask", f"expanding the comments of {spec.records}")
    with context.open_journal(spec.journal_of(spec.out)) as journal:
        async with open_askers(endpoints, journal, storage=context.storage) as askers:
            records = await run_inquiry(
                CritiqueInquiry(endpoints[0]),
                lambda faults: stream_records(source, faults),
                askers,
                report=report,
                max_failed_fraction=spec.max_failed_fraction,
                max_invalid_fraction=spec.max_invalid_fraction,
                count=context.count,
            )
        write_records(records, spec.out, storage=context.storage)


def _of_job(part: CritiquesPart, place: JobPlace) -> CritiquesSpec:
    return CritiquesSpec(
        **place.settings(CritiquesSettings, part),
        out=place.at("critiques.jsonl"),
        endpoints=place.endpoints([part.endpoint]),
    )


STEP = Step(
    "Expand human comments into critiques (paper Table 7).", CritiquesSpec, _run, of_job=_of_job
)
