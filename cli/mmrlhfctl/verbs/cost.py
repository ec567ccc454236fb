"""``cost``: what runs have taken, by what they and the cluster have recorded."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from mmrlhf.archive.runs import ArchivedRun, find_runs
from mmrlhf.client.archived import archived_attempts
from mmrlhf.client.cluster import Cluster, open_cluster
from mmrlhf.client.connection import Connection
from mmrlhf.client.names import Target, find_job, parse_job_names
from mmrlhf.client.runs import read, run_targets
from mmrlhf.client.times import parse_time
from mmrlhf.client.views import JobView
from mmrlhf.errors import NotFoundError
from mmrlhf_api import JobFileError, job_dict
from mmrlhf_api.jobfile import load_document, load_jobs, parse_object
from mmrlhf_api.kinds import KINDS
from mmrlhfctl.errors import CliError
from mmrlhfctl.exits import ExitCode
from mmrlhfctl.terminal import note, out
from mmrlhfctl.text.cost import HEADERS, Spent, cost_row, spent_by, total_line
from mmrlhfctl.text.forecast import Earlier, forecast, forecast_lines
from mmrlhfctl.text.prices import Prices
from mmrlhfctl.text.table import Table
from mmrlhfctl.validation import invalid
from mmrlhfctl.verbs.report import as_place

__all__ = ["read_prices", "show_cost", "show_forecast"]

TABLE: Final = "MMRLHFCTL_PRICES"
"""Variable that names a file of prices."""


def show_cost(
    connection: Connection,
    words: Sequence[str],
    *,
    price: float | None,
    table: str | None,
    figure: str | None,
    endpoint: str | None,
    region: str | None,
) -> None:
    """Print what runs have taken; of a run of a pipeline, each of its steps.

    Raises:
        MmrlhfError: One is not there, or its store cannot be read.
    """
    prices = read_prices(price, table)
    now, runs = datetime.now(UTC), list[Spent]()
    for word in words:
        if (place := as_place([word])) is not None:
            runs.append(_of_record(ArchivedRun(place, endpoint=endpoint, region=region), word, now))
        else:
            runs += [_of_job(job, now) for job in _jobs(open_cluster(connection), word)]
    if not runs:
        note("no step or point has had a job yet")
        return
    headers = [*HEADERS]
    if prices is not None:
        headers.append(prices.heading)
        runs = [replace(one, price=prices.of(one.pool)) for one in runs]
    if figure is not None:
        headers.append("A POINT")
    rows = [cost_row(one, priced=prices is not None, figure=figure) for one in runs]
    out("\n".join(Table(headers).lines(rows)))
    note(total_line(runs, prices=prices))


def show_forecast(
    file: str,
    words: Sequence[str],
    *,
    price: float | None,
    table: str | None,
    endpoint: str | None,
    region: str | None,
) -> None:
    """Print what the jobs of a file will take, by earlier runs.

    Args:
        file: Job file.
        words: Folders that hold finished runs; none takes the store of each job.
        price: Of one GPU-hour.
        table: File of prices.
        endpoint: Where the object store of a URI is.
        region: Its region.

    Raises:
        CliError: The file, or that of prices, is not valid.
        MmrlhfError: A store cannot be read.
    """
    prices = read_prices(price, table)
    try:
        jobs = load_jobs(file)
    except JobFileError as error:
        raise invalid(error) from error
    now = datetime.now(UTC)
    for job in jobs:
        store = job.spec.artifacts
        places = list(words) or [store.uri]
        earlier = [
            Earlier(run.uri, run.manifest(), _of_record(run, run.uri, now))
            for place in places
            for run in find_runs(
                place, endpoint=endpoint or store.endpoint, region=region or store.region
            )
        ]
        body = job_dict(job)
        out(f"{job.kind} {job.metadata.namespace}/{job.metadata.name}")
        for line in forecast_lines(forecast(body, earlier), body, prices):
            out(f"  {line}")


def read_prices(price: float | None, table: str | None) -> Prices | None:
    """Return what a GPU-hour costs: a price for all, or a table; None for neither.

    Raises:
        CliError: Both were given, or the table cannot be read or is not valid.
    """
    table = table if table is not None or price is not None else os.environ.get(TABLE)
    if table is None:
        return None if price is None else Prices(gpu_hour=price)
    if price is not None:
        raise CliError("give one of --price and --prices", code=ExitCode.USAGE)
    try:
        document, name = load_document(table)
        return parse_object(Prices, document, source=name)
    except JobFileError as error:
        raise invalid(error) from error


def _jobs(cluster: Cluster, word: str) -> Iterator[JobView]:
    targets = run_targets([word])
    if targets is None or not targets.named:
        (target,) = parse_job_names([word], at_most=1)
        yield find_job(cluster, target)
        return
    body = read(cluster, targets)[0]
    status, kind = body.get("status") or {}, (body["spec"].get("template") or {}).get("kind")
    for part in (*(status.get("steps") or ()), *(status.get("points") or ())):
        found = KINDS.get(part.get("kind") or kind or "")  # points are all of one kind
        if part.get("job") and found is not None:
            try:
                yield find_job(cluster, Target(found, part["job"]))
            except NotFoundError:
                note(f"{part['job']} is gone, and not counted")


def _of_job(job: JobView, now: datetime) -> Spent:
    started = parse_time(job.status.get("startTime"))
    waited = None if job.created is None or started is None else started - job.created
    return spent_by(
        job.argument,
        archived_attempts(job),
        gpus=_gpus(job.spec),
        ended=job.ended,
        now=now,
        waited=None if waited is None else waited.total_seconds(),
        metrics=job.metrics,
        pool=job.spec.get("nodePool"),
        told={one["reason"]: float(one["seconds"]) for one in job.status.get("lost") or ()},
    )


def _of_record(run: ArchivedRun, word: str, now: datetime) -> Spent:
    record = run.manifest()
    attempts = [one for one in record.get("attempts") or () if isinstance(one, dict)]
    spec = (record.get("job") or {}).get("spec") or {}
    return spent_by(
        word,
        attempts,
        gpus=_gpus(spec),
        ended=True,
        now=now,
        metrics=record.get("metrics") or {},
        pool=spec.get("nodePool"),
    )


def _gpus(spec: Any) -> int:  # noqa: ANN401 - as it was read
    resources = spec.get("resources") or {}
    return int(resources.get("nodes") or 1) * int(resources.get("gpusPerNode") or 0)
