"""Responses of several models to the same questions (paper 2.2)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Strict

from mmrlhf_api.scalars import Fraction, PositiveInt
from mmrlhf_jobs.data.queries import stream_queries, write_queries
from mmrlhf_jobs.data.sources import Source
from mmrlhf_jobs.endpoints.inquiry import InquiryReport, open_askers, run_inquiry
from mmrlhf_jobs.endpoints.responses import MAX_RESPONSES, ResponseInquiry
from mmrlhf_jobs.endpoints.settings import load_endpoints
from mmrlhf_jobs.errors import SpecError
from mmrlhf_jobs.steps.asking import ask
from mmrlhf_jobs.steps.spec import POSITIONAL, Flag, JournaledSpec, Place
from mmrlhf_jobs.steps.step import Outcome, Step, StepContext
from mmrlhf_jobs.storage.journal import Journal

__all__ = ["STEP", "ResponsesSpec"]


class ResponsesSpec(JournaledSpec):
    """Which questions to ask, and whom."""

    step: Literal["responses"] = "responses"
    """Name of the step."""
    records: Annotated[Place, POSITIONAL]
    """Query/v1 or RankedResponse/v1: a file, a folder or a pattern."""
    out: Annotated[Place, POSITIONAL]
    """File to write, *.jsonl."""
    endpoints: Place
    """YAML file of the servers to ask."""
    media_root: Place | None = None
    """Folder of the media; without it, that of the records."""
    allowed_media_roots: Annotated[
        tuple[Place, ...], Strict(strict=False), Flag("--allowed-media-root")
    ] = ()
    """Another folder that media may be in; repeatable."""
    samples: PositiveInt = 1
    """Responses of each model."""
    max_frames: PositiveInt = 32
    """Most frames of a video, evenly spread."""
    max_invalid_fraction: Fraction = 0.0
    """Share of the rows that may be no queries; they are left out."""
    max_failed_fraction: Fraction = 0.0
    """Share of the questions that may stay without a usable answer."""


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
    with Journal(spec.journal_of(spec.out)) as journal:
        async with open_askers(endpoints, journal, storage=context.storage) as askers:
            queries = await run_inquiry(
                inquiry,
                lambda faults: stream_queries(source, faults),
                askers,
                report=report,
                max_failed_fraction=spec.max_failed_fraction,
                max_invalid_fraction=spec.max_invalid_fraction,
            )
        write_queries(queries, spec.out, storage=context.storage)


STEP = Step("Ask models for responses to questions (paper 2.2).", ResponsesSpec, _run)
