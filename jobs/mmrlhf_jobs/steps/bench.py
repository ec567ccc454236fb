"""RewardBench: records and side-cars of scores in, a report out (paper 3.2, Table 4)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Literal

from rich.console import Console

from mmrlhf_jobs.data.sources import Source
from mmrlhf_jobs.data.stream import stream_records
from mmrlhf_jobs.errors import InputError
from mmrlhf_jobs.evaluation.rewardbench.measures import RewardBenchReport, measure
from mmrlhf_jobs.evaluation.rewardbench.page import render_page
from mmrlhf_jobs.evaluation.rewardbench.queries import bench_query
from mmrlhf_jobs.evaluation.rewardbench.table import make_table, notes
from mmrlhf_jobs.scores.keys import SidecarIdentity, record_keys
from mmrlhf_jobs.scores.table import Sidecar
from mmrlhf_jobs.steps.spec import POSITIONAL, Flag, Place, Places, StepSpec
from mmrlhf_jobs.steps.step import Outcome, Step, StepContext
from mmrlhf_jobs.storage.files import new_file
from mmrlhf_jobs.storage.uris import StorageOptions

__all__ = ["STEP", "BenchSpec"]


class BenchSpec(StepSpec):
    """What to compare with what."""

    step: Literal["bench"] = "bench"
    """Name of the step."""
    records: Annotated[Place, POSITIONAL]
    """RankedResponse/v1 records: a file, a folder or a pattern."""
    scores: Places
    """Side-car with the scores of a model, [NAME=]URI; several to compare models."""
    title: str = "RewardBench"
    """Title of the page."""
    json_out: Annotated[Place | None, Flag("--json")] = None
    """Where to write the figures."""
    html_out: Annotated[Place | None, Flag("--html")] = None
    """Where to write the page."""


def _run(spec: BenchSpec, context: StepContext) -> Outcome:
    """Print a table; write JSON and HTML where asked.

    Raises:
        InputError: Records or scores are wrong, or do not belong together.
    """
    storage = context.storage
    context.tell("measure", f"comparing scores with the rankings of {spec.records}")
    reports = {
        name: _report(spec.records, uri, storage) for name, uri in _named(spec.scores).items()
    }
    figures = {name: report.to_dict() for name, report in reports.items()}
    if spec.json_out:
        _write(spec.json_out, json.dumps(figures, indent=2) + "\n", storage)
    if spec.html_out:
        _write(spec.html_out, render_page(reports, title=spec.title), storage)
    console = Console()
    console.print(make_table(reports))
    for line in notes(reports):
        console.print(line, highlight=False, markup=False, emoji=False)
    only = next(iter(reports.values())).named("benchmark") if len(reports) == 1 else {}
    return Outcome(spec.json_out or spec.html_out or spec.records, only)


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


def _report(records: str, scores: str, storage: StorageOptions) -> RewardBenchReport:
    sidecar = Sidecar.open(scores, SidecarIdentity(kind="reward"), storage=storage)
    queries = []
    for record in stream_records(Source(records, storage=storage)):
        names = [
            f"record {record.record_id!r}, response {one.response_id!r}" for one in record.responses
        ]
        values = sidecar.lookup(record_keys(record), names=names)
        queries.append(bench_query(record, [float(value) for value in values]))
    return measure(queries)


def _write(uri: str, content: str, storage: StorageOptions) -> None:
    with new_file(uri, storage) as path:
        path.write_text(content, encoding="utf-8")


STEP = Step(
    "How often does a reward model prefer what people prefer (paper Table 4)?", BenchSpec, _run
)
