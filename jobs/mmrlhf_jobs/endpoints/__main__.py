"""Command line of the steps that ask model servers."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence

from mmrlhf_jobs.data.queries import stream_queries, write_queries
from mmrlhf_jobs.data.sources import Source, list_data_files
from mmrlhf_jobs.data.stream import stream_records
from mmrlhf_jobs.data.writers import write_records
from mmrlhf_jobs.endpoints.critiques import CritiqueStep
from mmrlhf_jobs.endpoints.responses import MAX_RESPONSES, ResponseStep
from mmrlhf_jobs.endpoints.settings import load_endpoints
from mmrlhf_jobs.endpoints.steps import StepReport, open_askers, run_step
from mmrlhf_jobs.errors import JobError, SpecError
from mmrlhf_jobs.storage.journal import Journal

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a step; print its report as JSON, or what is wrong to standard error."""
    options = _parser().parse_args(arguments)
    run = _expand_critiques if options.step == "critiques" else _generate_responses
    report = StepReport()
    try:
        asyncio.run(run(options, report))
    except JobError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("stopped; answers so far are kept, run again to go on\n")
        return 130
    finally:
        # Also of a run that failed: it has cost something.
        if report.records:
            print(json.dumps(report.to_dict(), indent=2))
    return 0


async def _expand_critiques(options: argparse.Namespace, report: StepReport) -> None:
    endpoints = load_endpoints(options.endpoints)
    if len(endpoints) > 1:
        raise SpecError(f"{options.endpoints}: critiques are of one endpoint, not {len(endpoints)}")
    source = Source(options.records)
    with Journal(options.journal or f"{options.out}.journal") as journal:
        async with open_askers(endpoints, journal) as askers:
            records = await run_step(
                CritiqueStep(endpoints[0]),
                lambda: stream_records(source),
                askers,
                report=report,
                max_failed_fraction=options.max_failed_fraction,
            )
        write_records(records, options.out)


async def _generate_responses(options: argparse.Namespace, report: StepReport) -> None:
    endpoints = load_endpoints(options.endpoints)
    if len(endpoints) * options.samples > MAX_RESPONSES:
        raise SpecError(
            f"{len(endpoints)} endpoints with {options.samples} samples each are more than the"
            f" {MAX_RESPONSES} responses that a record may have"
        )
    source = Source(options.records)
    step = ResponseStep(
        endpoints,
        media_root=options.media_root or list_data_files(source)[0].folder,
        samples=options.samples,
        max_frames=options.max_frames,
    )
    with Journal(options.journal or f"{options.out}.journal") as journal:
        async with open_askers(endpoints, journal) as askers:
            queries = await run_step(
                step,
                lambda: stream_queries(source),
                askers,
                report=report,
                max_failed_fraction=options.max_failed_fraction,
            )
        write_queries(queries, options.out)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mmrlhf_jobs.endpoints")
    steps = parser.add_subparsers(dest="step", required=True)
    critiques = steps.add_parser("critiques", help="expand human comments (paper Table 7)")
    responses = steps.add_parser("responses", help="ask models for responses (paper 2.2)")
    for step in (critiques, responses):
        step.add_argument("records", help="a file, a folder or a pattern")
        step.add_argument("out", help="file to write")
        step.add_argument("--endpoints", required=True, help="YAML file of the servers to ask")
        step.add_argument(
            "--journal",
            help="file that answers are kept in, to go on from and to share between runs;"
            " default: beside the output",
        )
        step.add_argument("--max-failed-fraction", type=float, default=0.0)
    responses.add_argument("--media-root", help="folder of the media; default: that of the records")
    responses.add_argument("--samples", type=int, default=1, help="responses of each model")
    responses.add_argument("--max-frames", type=int, default=32, help="most frames of a video")
    return parser


if __name__ == "__main__":
    sys.exit(main())
