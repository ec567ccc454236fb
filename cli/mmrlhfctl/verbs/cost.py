"""``cost``: what runs have taken, by what they and the cluster have recorded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from mmrlhf.archive.runs import ArchivedRun
from mmrlhf.client.archived import archived_attempts
from mmrlhf.client.cluster import Cluster, open_cluster
from mmrlhf.client.connection import Connection
from mmrlhf.client.names import Target, find_job, parse_job_names
from mmrlhf.client.runs import read, run_targets
from mmrlhf.client.times import parse_time
from mmrlhf.client.views import JobView
from mmrlhf.errors import NotFoundError
from mmrlhf_api.kinds import KINDS
from mmrlhfctl.terminal import note, out
from mmrlhfctl.text.cost import HEADERS, Spent, cost_row, spent_by, total_line
from mmrlhfctl.text.table import Table
from mmrlhfctl.verbs.report import as_place

__all__ = ["show_cost"]


def show_cost(
    connection: Connection,
    words: Sequence[str],
    *,
    price: float | None,
    figure: str | None,
    endpoint: str | None,
    region: str | None,
) -> None:
    """Print what runs have taken; of a run of a pipeline, each of its steps.

    Raises:
        MmrlhfError: One is not there, or its store cannot be read.
    """
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
    if price is not None:
        headers.append("PRICE")
    if figure is not None:
        headers.append("A POINT")
    rows = [cost_row(one, price=price, figure=figure) for one in runs]
    out("\n".join(Table(headers).lines(rows)))
    note(total_line(runs, price=price))


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
    )


def _of_record(run: ArchivedRun, word: str, now: datetime) -> Spent:
    record = run.manifest()
    attempts = [one for one in record.get("attempts") or () if isinstance(one, dict)]
    spec = (record.get("job") or {}).get("spec") or {}
    metrics = record.get("metrics") or {}
    return spent_by(word, attempts, gpus=_gpus(spec), ended=True, now=now, metrics=metrics)


def _gpus(spec: Any) -> int:  # noqa: ANN401 - as it was read
    resources = spec.get("resources") or {}
    return int(resources.get("nodes") or 1) * int(resources.get("gpusPerNode") or 0)
