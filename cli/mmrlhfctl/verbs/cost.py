"""``cost``: what runs have taken, by what they and the cluster have recorded."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from mmrlhf.archive.runs import ArchivedRun, find_runs
from mmrlhf.client.archived import archived_attempts
from mmrlhf.client.cluster import Cluster, open_cluster
from mmrlhf.client.connection import Connection
from mmrlhf.client.names import Target, find_job, list_jobs, parse_job_names
from mmrlhf.client.runs import read, run_targets
from mmrlhf.client.times import parse_time
from mmrlhf.client.views import JobView
from mmrlhf.errors import MmrlhfError, NotFoundError
from mmrlhf_api import JobFileError, job_dict
from mmrlhf_api.jobfile import load_document, load_jobs, parse_object
from mmrlhf_api.kinds import KINDS
from mmrlhf_api.prices import Prices
from mmrlhf_api.progress import is_number
from mmrlhfctl.errors import CliError
from mmrlhfctl.exits import ExitCode
from mmrlhfctl.program import program_name
from mmrlhfctl.terminal import note, out
from mmrlhfctl.text.cost import (
    HEADERS,
    Spent,
    cost_row,
    gate_lines,
    spent_by,
    told_prices,
    total_line,
)
from mmrlhfctl.text.forecast import Earlier, Forecast, forecast, forecast_lines
from mmrlhfctl.text.table import Table
from mmrlhfctl.validation import invalid
from mmrlhfctl.verbs.places import as_place

__all__ = ["read_prices", "show_cost", "show_forecast", "tell_forecast"]

_PATIENCE: Final = 10.0
"""Seconds that a forecast beside something else has for the store."""
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
        runs = [replace(one, price=prices.of(one.pool)) for one in runs]
    else:
        try:
            prices = told_prices(runs)
        except ValueError as error:
            note(f"{error}: no price is shown; give one table for all by --prices")
    if prices is not None:
        headers.append(prices.heading)
    if figure is not None:
        headers.append("A POINT")
    rows = [cost_row(one, priced=prices is not None, figure=figure) for one in runs]
    out("\n".join(Table(headers).lines(rows)))
    note(total_line(runs, prices=prices))
    for line in gate_lines(runs, prices=prices):
        note(line)


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
    for job in jobs:
        body = job_dict(job)
        found = _forecast(body, words, endpoint=endpoint, region=region)
        out(f"{job.kind} {job.metadata.namespace}/{job.metadata.name}")
        for line in forecast_lines(found, body, prices):
            out(f"  {line}")


def tell_forecast(
    job: Mapping[str, Any],
    *,
    cluster: Cluster | None,
    namespace: str,
    patience: float = _PATIENCE,
) -> None:
    """Note what a job will take, if its store holds runs to go by.

    It is said beside something else, and so neither fails nor waits long: a store that cannot be
    read from this machine is told, and so is one that does not answer.

    Args:
        job: It, under wire names, with defaults.
        cluster: Where jobs say what a GPU-hour costs; None: a table alone does.
        namespace: Where it is to be.
        patience: Seconds.
    """
    lines: list[str] | None = None

    def look() -> None:
        nonlocal lines
        try:
            found = _forecast(job, (), endpoint=None, region=None)
            if not found.runs:
                lines = []
                return
            prices = read_prices(None, None) or _told_price(job, cluster, namespace)
            lines = forecast_lines(found, job, prices)
        except (MmrlhfError, CliError) as error:
            lines = [f"none: {error}"]

    thread = threading.Thread(target=look, name="forecast", daemon=True)
    thread.start()
    thread.join(patience)
    if lines is None:
        uri = job["spec"]["artifacts"]["uri"]
        within = f"none: {uri} was not read within {patience:g} s"
        lines = [f"{within}; {program_name()} cost --forecast FILE takes its time"]
    name = f"{namespace}/{job['metadata']['name']}"
    for number, line in enumerate(lines):
        note(f"  {line}" if number else f"forecast for {job['kind']} {name}: {line}")


def _forecast(
    job: Mapping[str, Any], words: Sequence[str], *, endpoint: str | None, region: str | None
) -> Forecast:
    """What a job will take, by the runs of some folders, or of its own store.

    Raises:
        MmrlhfError: A store cannot be read.
    """
    now, store = datetime.now(UTC), job["spec"]["artifacts"]
    endpoint, region = endpoint or store.get("endpoint"), region or store.get("region")
    earlier = [
        Earlier(run.uri, run.manifest(), _of_record(run, run.uri, now))
        for place in list(words) or [store["uri"]]
        for run in find_runs(place, endpoint=endpoint, region=region)
    ]
    return forecast(job, earlier)


def _told_price(job: Mapping[str, Any], cluster: Cluster | None, namespace: str) -> Prices | None:
    """What the newest job of the same kind and pool says that a GPU-hour costs; None if none does.

    Raises:
        MmrlhfError: The jobs may not be listed.
    """
    if cluster is None:
        return None
    jobs = list_jobs(cluster, [KINDS[job["kind"]]], namespace)
    pool = job["spec"].get("nodePool")
    like = [one for one in jobs if one.spec.get("nodePool") == pool and one.status.get("price")]
    first = datetime.min.replace(tzinfo=UTC)
    newest = max(like, key=lambda one: one.created or first, default=None)
    if newest is None:
        return None
    price, currency = _price(newest)
    return Prices(currency=currency, gpu_hour=price)


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
    price, currency = _price(job)
    spent = spent_by(
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
    return replace(spent, price=price, currency=currency)


def _price(job: JobView) -> tuple[float | None, str]:
    """What the operator says a GPU-hour of it costs, and what that is paid in."""
    told = job.status.get("price") or {}
    price = told.get("gpuHour")
    return (float(price) if is_number(price) else None), str(told.get("currency") or "")


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
