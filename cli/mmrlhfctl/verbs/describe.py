"""``describe`` and ``events``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from mmrlhf.client.cluster import Cluster, Manifest, open_cluster
from mmrlhf.client.connection import Connection
from mmrlhf.client.names import find_jobs, parse_job_names
from mmrlhf.client.paths import core_path, job_path
from mmrlhf.client.pods import list_pods
from mmrlhf.client.views import JobView
from mmrlhf.client.watch import Snapshot, observe
from mmrlhf.errors import ForbiddenError
from mmrlhf_api.constants import API_VERSION
from mmrlhf_api.kinds import KINDS
from mmrlhfctl.terminal import colours_wanted, note, out
from mmrlhfctl.text.events import EVENT_HEADERS, concerns, event_row, in_order
from mmrlhfctl.text.job import description
from mmrlhfctl.text.output import as_json
from mmrlhfctl.text.table import Table
from mmrlhfctl.verbs.jobs_alone import refuse_runs

__all__ = ["describe_jobs", "show_events"]


def describe_jobs(connection: Connection, words: Sequence[str]) -> None:
    """Show everything that is known about some jobs."""
    cluster = open_cluster(connection)
    refuse_runs(words, "description")
    jobs = find_jobs(cluster, parse_job_names(words))
    colours = colours_wanted(sys.stdout)
    for position, job in enumerate(jobs):
        pods = _unless_forbidden(partial(list_pods, cluster, job), "pods")
        events = _unless_forbidden(partial(_events, cluster, [job]), "events")
        if position:
            out("")
        out("\n".join(description(job, pods, in_order(events), datetime.now(UTC), colours=colours)))


def show_events(connection: Connection, words: Sequence[str], *, watch: bool, form: str) -> None:
    """Show the events of some jobs and their pods, or of all jobs of the namespace.

    Args:
        connection: Which cluster.
        words: Jobs; none stands for all.
        watch: Go on with whatever happens.
        form: text or json.
    """
    cluster = open_cluster(connection)
    refuse_runs(words, "events")
    jobs = find_jobs(cluster, parse_job_names(words)) if words else _all_jobs(cluster)
    table = Table(EVENT_HEADERS, colours=colours_wanted(sys.stdout))
    if not watch:
        events = in_order(_events(cluster, jobs, all_of_ours=not words))
        if form == "json":
            out(as_json(events))
        elif not events:
            note(f"no events found in namespace {cluster.namespace}")
        else:
            now = datetime.now(UTC)
            out("\n".join(table.lines([event_row(event, now) for event in events])))
        return
    _watch(cluster, jobs, table, form=form, all_of_ours=not words)


def _watch(
    cluster: Cluster, jobs: list[JobView], table: Table, *, form: str, all_of_ours: bool
) -> None:
    header = True
    shown: set[tuple[str, str]] = set()
    for event in observe(cluster, core_path("events", cluster.namespace), tell=note):
        if isinstance(event, Snapshot):
            found = in_order(event.items)
        else:
            found = [] if event.type == "DELETED" else [event.object]
        if all_of_ours:
            jobs = _with_new(cluster, jobs, found)
        fresh = [
            item
            for item in found
            if _wanted(item, jobs, all_of_ours=all_of_ours)
            and (key := (item["metadata"]["uid"], item["metadata"]["resourceVersion"])) not in shown
            and not shown.add(key)  # type: ignore[func-returns-value]
        ]
        if not fresh:
            continue
        now = datetime.now(UTC)
        if form == "json":
            out("\n".join(as_json([item], single=True) for item in fresh))
        else:
            rows = [event_row(item, now) for item in fresh]
            out("\n".join(table.lines(rows, header=header)))
            header = False
        sys.stdout.flush()


def _with_new(cluster: Cluster, jobs: list[JobView], events: Sequence[Any]) -> list[JobView]:
    """Look up jobs anew when an event is about one that was not known."""
    known = {job.uid for job in jobs}
    involved = (event.get("involvedObject") or {} for event in events)
    if any(
        one.get("apiVersion") == API_VERSION and one.get("uid") not in known for one in involved
    ):
        return _all_jobs(cluster)
    return jobs


def _all_jobs(cluster: Cluster) -> list[JobView]:
    return [
        JobView.read(item)
        for kind in KINDS.values()
        for item in cluster.list(job_path(kind, cluster.namespace))[0]
    ]


def _events(
    cluster: Cluster, jobs: Sequence[JobView], *, all_of_ours: bool = False
) -> list[Manifest]:
    items, _ = cluster.list(core_path("events", cluster.namespace))
    return [item for item in items if _wanted(item, jobs, all_of_ours=all_of_ours)]


def _wanted(event: Mapping[str, Any], jobs: Sequence[JobView], *, all_of_ours: bool) -> bool:
    if all_of_ours and (event.get("involvedObject") or {}).get("apiVersion") == API_VERSION:
        return True
    return any(concerns(event, job) for job in jobs)


def _unless_forbidden(read: Callable[[], list[Any]], what: str) -> list[Any]:
    try:
        return read()
    except ForbiddenError as error:
        note(f"{what} are not shown: {error.lines[0]}")
        return []
