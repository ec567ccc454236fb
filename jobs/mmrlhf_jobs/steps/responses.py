"""Responses of several models to the same questions (paper 2.2)."""

from __future__ import annotations

from typing import Annotated, Literal

from mmrlhf_api.steps.asking import ResponsesPart, ResponsesSettings
from mmrlhf_api.steps.marks import POSITIONAL
from mmrlhf_jobs.data.queries import stream_queries, write_queries
from mmrlhf_jobs.data.sources import Source
from mmrlhf_jobs.endpoints.inquiry import InquiryReport, open_askers, run_inquiry
from mmrlhf_jobs.endpoints.responses import MAX_RESPONSES, ResponseInquiry
from mmrlhf_jobs.endpoints.settings import load_endpoints
from mmrlhf_jobs.errors import SpecError
from mmrlhf_jobs.steps.asking import ask
from mmrlhf_jobs.steps.spec import JournaledSpec, Place
from mmrlhf_jobs.steps.step import JobPlace, Outcome, Step, StepContext

__all__ = ["STEP", "ResponsesSpec"]


class ResponsesSpec(JournaledSpec, ResponsesSettings):
    """Which questions to ask, and whom."""

    step: Literal["responses"] = "responses"
    """Name of the step."""
    out: Annotated[Place, POSITIONAL]
    """File to write, *.jsonl."""
    endpoints: Place
    """YAML file of the servers to ask."""


def _run(spec: ResponsesSpec, context: StepContext) -> Outcome:
    """Ask for what is missing.

    Raises:
        InputError: The queries, their media or the file of endpoints are wrong.
        EndpointError: A server cannot be used, or too many answers cannot.
    """
    return ask(lambda report: _generate(spec, context, report), spec.out, context)


async def _generate(spec: ResponsesSpec, context: StepContext, report: InquiryReport) -> None:
    endpoints = load_endpoints(spec.endpoints, context.storage)
    if len(endpoints) * spec.samples > MAX_RESPONSES:
        raise SpecError(
            f"{len(endpoints)} endpoints with {spec.samples} samples each are more than the"
            f" {MAX_RESPONSES} responses that a record may have"
        )
    source = Source(
        spec.records,
        media_root=spec.media_root,
        storage=context.storage,
        allowed_media_roots=spec.allowed_media_roots,
    )
    inquiry = ResponseInquiry(
        endpoints,
        media_root=source.media_folders(),
        samples=spec.samples,
        max_frames=spec.max_frames,
    )
    context.tell("ask", f"asking {len(endpoints)} models about {spec.records}")
    with context.open_journal(spec.journal_of(spec.out)) as journal:
        async with open_askers(endpoints, journal, storage=context.storage) as askers:
            queries = await run_inquiry(
                inquiry,
                lambda faults: stream_queries(source, faults),
                askers,
                report=report,
                max_failed_fraction=spec.max_failed_fraction,
                max_invalid_fraction=spec.max_invalid_fraction,
                count=context.count,
            )
        write_queries(queries, spec.out, storage=context.storage)


def _of_job(part: ResponsesPart, place: JobPlace) -> ResponsesSpec:
    return ResponsesSpec(
        **place.settings(ResponsesSettings, part),
        out=place.at("responses.jsonl"),
        endpoints=place.endpoints(part.endpoints),
    )


STEP = Step(
    "Ask models for responses to questions (paper 2.2).", ResponsesSpec, _run, of_job=_of_job
)
