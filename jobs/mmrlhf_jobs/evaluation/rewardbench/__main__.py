"""Command line: records and side-cars of scores in, a report out."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from rich.console import Console

from mmrlhf_jobs.data.sources import Source
from mmrlhf_jobs.data.stream import stream_records
from mmrlhf_jobs.errors import InputError, JobError
from mmrlhf_jobs.evaluation.rewardbench.measures import RewardBenchReport, measure
from mmrlhf_jobs.evaluation.rewardbench.page import render_page
from mmrlhf_jobs.evaluation.rewardbench.queries import bench_query
from mmrlhf_jobs.evaluation.rewardbench.table import make_table, notes
from mmrlhf_jobs.scores.keys import SidecarIdentity, record_keys
from mmrlhf_jobs.scores.table import Sidecar
from mmrlhf_jobs.storage.files import new_file

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table; write JSON and HTML where asked. Return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m mmrlhf_jobs.evaluation.rewardbench")
    parser.add_argument("records", help="RankedResponse/v1: a file, a folder or a pattern")
    parser.add_argument(
        "--scores",
        action="append",
        required=True,
        metavar="[NAME=]URI",
        help="side-car with the scores of a model; give it again to compare models",
    )
    parser.add_argument("--title", default="RewardBench")
    parser.add_argument("--json", metavar="URI", help="where to write the figures")
    parser.add_argument("--html", metavar="URI", help="where to write the page")
    options = parser.parse_args(arguments)
    try:
        reports = {
            name: _report(options.records, uri) for name, uri in _named(options.scores).items()
        }
        if options.json:
            figures = {name: report.to_dict() for name, report in reports.items()}
            _write(options.json, json.dumps(figures, indent=2) + "\n")
        if options.html:
            _write(options.html, render_page(reports, title=options.title))
    except JobError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    console = Console()
    console.print(make_table(reports))
    for line in notes(reports):
        console.print(line, highlight=False)
    return 0


def _named(scores: Sequence[str]) -> dict[str, str]:
    named: dict[str, str] = {}
    for text in scores:
        name, equals, uri = text.partition("=")
        if not equals:
            name, uri = text.rpartition("/")[2].removesuffix(".parquet"), text
        if name in named:
            raise InputError(f"--scores: two models are called {name!r}; name them NAME=URI")
        named[name] = uri
    return named


def _report(records: str, scores: str) -> RewardBenchReport:
    sidecar = Sidecar.open(scores, SidecarIdentity(kind="reward"))
    queries = []
    for record in stream_records(Source(records)):
        names = [
            f"record {record.record_id!r}, response {one.response_id!r}" for one in record.responses
        ]
        values = sidecar.lookup(record_keys(record), names=names)
        queries.append(bench_query(record, [float(value) for value in values]))
    return measure(queries)


def _write(uri: str, content: str) -> None:
    with new_file(uri) as path:
        path.write_text(content, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
