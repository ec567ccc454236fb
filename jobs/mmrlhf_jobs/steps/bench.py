"""RewardBench: records and side-cars of scores in, a report out (paper 3.2, Table 4)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from rich.console import Console

from mmrlhf_api.steps.bench import BenchPart, BenchSettings
from mmrlhf_api.steps.marks import Flag
from mmrlhf_jobs.data.records import RankedResponse, RowLocation
from mmrlhf_jobs.data.row_faults import RowFault, RowFaults, repeated_record
from mmrlhf_jobs.data.sources import Source
from mmrlhf_jobs.data.stream import stream_records
from mmrlhf_jobs.errors import InputError
from mmrlhf_jobs.evaluation.rewardbench.measures import measure
from mmrlhf_jobs.evaluation.rewardbench.page import render_page
from mmrlhf_jobs.evaluation.rewardbench.queries import BenchQuery, bench_query
from mmrlhf_jobs.evaluation.rewardbench.table import make_table, notes
from mmrlhf_jobs.scores.keys import SidecarIdentity, record_keys
from mmrlhf_jobs.scores.table import Sidecar
from mmrlhf_jobs.steps.spec import Place, Places, StepSpec
from mmrlhf_jobs.steps.step import JobPlace, Outcome, Step, StepContext
from mmrlhf_jobs.storage.files import new_file
from mmrlhf_jobs.storage.uris import StorageOptions

__all__ = ["STEP", "BenchSpec"]


class BenchSpec(StepSpec, BenchSettings):
    """What to compare with what."""

    step: Literal["bench"] = "bench"
    """Name of the step."""
    scores: Places
    """Side-car with the scores of a model, [NAME=]URI; several to compare models."""
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
    sidecars = {
        name: Sidecar.open(uri, SidecarIdentity(kind="reward"), storage=storage)
        for name, uri in _named(spec.scores).items()
    }
    faults = RowFaults()
    queries = _judged(Source(spec.records, storage=storage), sidecars, faults)
    faults.check(spec.max_invalid_fraction)
    reports = {name: measure(judged) for name, judged in queries.items()}
    figures = {name: {**report.to_dict(), **faults.to_dict()} for name, report in reports.items()}
    if spec.json_out:
        _write(spec.json_out, json.dumps(figures, indent=2) + "\n", storage)
    if spec.html_out:
        _write(spec.html_out, render_page(reports, title=spec.title), storage)
    console = Console()
    console.print(make_table(reports))
    for line in (*notes(reports), *_left_out(faults)):
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


def _judged(
    source: Source, sidecars: Mapping[str, Sidecar], faults: RowFaults
) -> dict[str, list[BenchQuery]]:
    """Queries with the scores of each model: the same queries for all, so that they compare."""
    queries: dict[str, list[BenchQuery]] = {name: [] for name in sidecars}
    seen: dict[str, RowLocation] = {}
    for record in stream_records(source, faults):
        keys = record_keys(record)
        try:
            _check(record, seen.setdefault(record.record_id, record.location), keys, sidecars)
        except RowFault as fault:
            faults.add(fault)
            continue
        for name, sidecar in sidecars.items():
            scores = [float(value) for value in sidecar.lookup(keys)]
            queries[name].append(bench_query(record, scores))
    return queries


def _check(
    record: RankedResponse,
    first: RowLocation,
    keys: Sequence[bytes],
    sidecars: Mapping[str, Sidecar],
) -> None:
    place = record.location
    if first is not place:
        raise repeated_record(place, first)
    for sidecar in sidecars.values():
        for lacking in sidecar.lacking(keys)[:1]:
            raise RowFault(
                f"{sidecar.uri} has no score for record {record.record_id!r}, response"
                f" {record.responses[lacking].response_id!r}: it was made from other data, or left"
                " the row out; score this data set",
                kind="no-score",
                file=place.file,
                row=place.row,
                field=f"responses[{lacking}]",
            )


def _left_out(faults: RowFaults) -> list[str]:
    if not faults.total:
        return []
    counts = ", ".join(f"{number} {reason}" for reason, number in faults.counts.most_common())
    return [f"{faults.total} of {faults.rows} rows are invalid and left out ({counts})"]


def _write(uri: str, content: str, storage: StorageOptions) -> None:
    with new_file(uri, storage) as path:
        path.write_text(content, encoding="utf-8")


def _of_job(part: BenchPart, place: JobPlace) -> BenchSpec:
    if part.scores is None:
        raise place.unresolved("bench.scoresJob", part.scores_job, "bench.scores")
    return BenchSpec(
        **place.settings(BenchSettings, part),
        scores=(f"scores={part.scores}", *(f"{one.name}={one.uri}" for one in part.others)),
        json_out=place.at("bench.json"),
        html_out=place.at("bench.html"),
    )


STEP = Step(
    "How often does a reward model prefer what people prefer (paper Table 4)?",
    BenchSpec,
    _run,
    of_job=_of_job,
)
