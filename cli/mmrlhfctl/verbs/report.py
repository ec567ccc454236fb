"""``report`` and ``compare``: finished runs, by the name of a job or by where they are."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from mmrlhf.archive.runs import ArchivedRun
from mmrlhf.client.archived import archived_run
from mmrlhf.client.cluster import open_cluster
from mmrlhf.client.connection import Connection
from mmrlhf.client.names import find_job, parse_job_names
from mmrlhf.errors import MmrlhfError, NotFoundError
from mmrlhf_jobs.pages.comparison import compare_figures, differing_fields, render_comparison
from mmrlhf_jobs.pages.record import RunRecord, parse_rows
from mmrlhf_jobs.pages.run_report import number, summarise
from mmrlhfctl.errors import CliError
from mmrlhfctl.exits import ExitCode
from mmrlhfctl.terminal import note, out
from mmrlhfctl.text.table import Table
from mmrlhfctl.verbs.page_files import open_page, write_page
from mmrlhfctl.verbs.places import as_place
from mmrlhfctl.verbs.sweep_page import found_sweep, show_sweep

__all__ = ["compare_runs", "show_report"]

_PAGE: Final = "report.html"


def show_report(
    connection: Connection,
    words: Sequence[str],
    *,
    as_text: bool,
    open_it: bool,
    output: str | None,
    endpoint: str | None,
    region: str | None,
) -> None:
    """Say where the report of a run is, open it, copy it, or tell it in words; or of a sweep.

    Raises:
        MmrlhfError: There is no such run, or it has no report.
    """
    if (sweep := found_sweep(connection, words)) is not None:
        show_sweep(sweep, as_text=as_text, open_it=open_it, output=output)
        return
    run = _find(connection, words, endpoint, region)
    if as_text:
        out("\n".join(_in_words(_read(run))))
        return
    page = run.text(_PAGE)
    if page is None:
        raise NotFoundError(
            f"{run.uri} has no {_PAGE}: only trainings have, since this version; --print tells what"
            " its record has"
        )
    place = f"{run.uri}/{_PAGE}"
    if output is not None:
        place = str(write_page(Path(output), page))
    elif open_it and not run.is_local:
        with tempfile.NamedTemporaryFile("wb", suffix=f"-{_PAGE}", delete=False) as file:
            file.write(page.encode())
        place = file.name
    if open_it:
        local = output is not None or not run.is_local
        open_page(Path(place if local else run.path_of(_PAGE)))
    out(place)


def compare_runs(
    connection: Connection,
    words: Sequence[str],
    *,
    page: str,
    endpoint: str | None,
    region: str | None,
) -> None:
    """Print the figures of several runs side by side, and write a page that lays them over.

    Raises:
        MmrlhfError: One is not there.
    """
    if len(words) < 2:
        raise CliError("name two runs or more", code=ExitCode.USAGE)
    runs: dict[str, RunRecord] = {}
    for word in words:
        record = _read(_find(connection, [word], endpoint, region))
        # Runs of one job file share a name; where they are tells them apart.
        name = record.name if record.name not in runs else f"{record.name} ({word})"
        if name in runs:
            raise CliError(f"{word} is named twice", code=ExitCode.USAGE)
        runs[name] = record
    _print("FIGURE", list(runs), compare_figures(runs))
    if differences := differing_fields(runs):
        out("")
        _print("FIELD", list(runs), differences)
    note(f"wrote {write_page(Path(page), render_comparison(runs))}")


def _find(
    connection: Connection, words: Sequence[str], endpoint: str | None, region: str | None
) -> ArchivedRun:
    if (place := as_place(words)) is not None:
        return ArchivedRun(place, endpoint=endpoint, region=region)
    (target,) = parse_job_names(words, at_most=1)
    return archived_run(find_job(open_cluster(connection), target))


def _read(run: ArchivedRun) -> RunRecord:
    metrics = run.text("metrics.jsonl")
    if metrics is None:
        raise NotFoundError(f"{run.uri} is no training: it has no metrics.jsonl")
    try:
        return RunRecord(run.manifest(), parse_rows(metrics))
    except ValueError as error:
        raise MmrlhfError(f"{run.uri}/metrics.jsonl is damaged: {error}") from error


def _in_words(run: RunRecord) -> list[str]:
    lines = summarise(run)
    measures = run.before_and_after()
    if measures:
        table = Table(["HELD-OUT", "BEFORE", "AFTER"])
        rows = [(name, number(one), number(other)) for name, one, other in measures]
        lines += ["", *table.lines(rows)]
    figures = [(name, value) for name, (value,) in compare_figures({run.name: run})]
    rest = [one for one in figures if not one[0].startswith(("before ", "after "))]
    return [*lines, "", *Table(["TRAINING", "FIGURE"]).lines(rest)]


def _print(title: str, names: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> None:
    table = Table([title, *names])
    out("\n".join(table.lines([(name, *values) for name, values in rows])))
