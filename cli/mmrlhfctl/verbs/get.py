"""``get`` and ``status``: lists of jobs, and one job at a glance."""

from __future__ import annotations

import queue
import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mmrlhf.client.cluster import Change, Cluster, Manifest, open_cluster
from mmrlhf.client.connection import Connection
from mmrlhf.client.names import Targets, find_jobs, list_jobs, parse_targets
from mmrlhf.client.paths import job_path
from mmrlhf.client.runs import RunTargets, run_targets
from mmrlhf.client.views import JobView
from mmrlhf.client.watch import Snapshot, observe
from mmrlhf_api.constants import Reason
from mmrlhf_api.kinds import Kind
from mmrlhf_api.progress import is_number
from mmrlhfctl.errors import CliError
from mmrlhfctl.exits import ExitCode
from mmrlhfctl.terminal import colours_wanted, note, out
from mmrlhfctl.text.job import summary
from mmrlhfctl.text.jobs import JobColumns, fitting
from mmrlhfctl.text.output import as_json, as_names, as_object, as_yaml
from mmrlhfctl.text.table import Table

if TYPE_CHECKING:
    from mmrlhfctl.text.jsonpath import Template

__all__ = ["get_jobs"]


def get_jobs(
    connection: Connection,
    words: Sequence[str],
    *,
    form: str,
    watch: bool,
    all_namespaces: bool,
    selector: str | None,
    sort_by: str | None,
    detail: bool,
) -> None:
    """Show jobs.

    Args:
        connection: Which cluster.
        words: Kinds or jobs; see `targets`.
        form: text, wide, json, yaml, name or ``jsonpath=TEMPLATE``.
        watch: Go on with whatever changes.
        all_namespaces: List the jobs of all namespaces.
        selector: Label selector.
        sort_by: Path of the field to sort by; None leaves the order of names.
        detail: Show more of a job that is named, in text form.
    """
    runs = run_targets(words)
    if runs is not None:
        _show_runs(
            connection,
            runs,
            form=form,
            all_namespaces=all_namespaces,
            selector=selector,
            detail=detail,
            refused={"--watch": watch, "--sort-by": sort_by is not None},
        )
        return
    targets = parse_targets(words)
    if targets.jobs and (all_namespaces or selector):
        option = "--all-namespaces" if all_namespaces else "--selector"
        raise CliError(f"{option} does not go with names of jobs", code=ExitCode.USAGE)
    if watch and sort_by is not None:
        raise CliError("--sort-by does not go with --watch", code=ExitCode.USAGE)
    cluster = open_cluster(connection)
    if watch:
        _watch(cluster, targets, form=form, everywhere=all_namespaces, selector=selector)
        return
    kinds = targets.kinds
    if targets.jobs:
        jobs = find_jobs(cluster, targets.jobs)
        kinds = tuple(job.kind for job in jobs)
    else:
        namespace = None if all_namespaces else cluster.namespace
        jobs = list_jobs(cluster, targets.kinds, namespace, selector=selector)
    if sort_by is not None:
        jobs = _sorted(jobs, sort_by)
    if detail and targets.jobs and form == "text":
        now = datetime.now(UTC)
        colours = colours_wanted(sys.stdout)
        parts = [summary(job, now, queue=_queue(cluster, job), colours=colours) for job in jobs]
        out("\n".join("\n".join(lines) + "\n" for lines in parts))
        return
    if not jobs and form in {"text", "wide", "name"}:
        where = "in any namespace" if all_namespaces else f"in namespace {cluster.namespace}"
        note(f"no jobs found {where}")
        return
    _printer(form, kinds, everywhere=all_namespaces, single=len(targets.jobs) == 1)(jobs)


def _show_runs(
    connection: Connection,
    targets: RunTargets,
    *,
    form: str,
    all_namespaces: bool,
    selector: str | None,
    detail: bool,
    refused: Mapping[str, bool],
) -> None:
    from mmrlhfctl.verbs.runs import show_runs

    for option, given in refused.items():
        if given:
            raise CliError(
                f"{option} is for jobs; kubectl get has it for runs", code=ExitCode.USAGE
            )
    show_runs(
        connection,
        targets,
        form=form,
        all_namespaces=all_namespaces,
        selector=selector,
        detail=detail,
    )


def _queue(cluster: Cluster, job: JobView) -> list[str]:
    """Return the place of a job that waits in a queue, the quota, and who holds it."""
    if job.ended or job.reason != Reason.QUEUED:
        return []
    from mmrlhfctl.diagnosis.queue_causes import queue_evidence
    from mmrlhfctl.verbs.why_facts import read_queue

    facts = read_queue(cluster, job)
    lines = [f"{one.thing}: {one.text}" for one in queue_evidence(facts)]
    return lines + [f"could not look at {one.what}: {one.why}" for one in facts.unread]


def _sorted(jobs: Sequence[JobView], sort_by: str) -> list[JobView]:
    """Return jobs by what a path leads to: those without it first, numbers before texts."""
    from mmrlhfctl.text.jsonpath import parse_path, shown

    path = parse_path(sort_by)
    if jobs and not any(path.values(job.body) for job in jobs):
        # It may be misspelt, and it may only come later, as most of a status does.
        note(f"--sort-by {sort_by}: none of the jobs has it, so they are in the order of names")

    def key(job: JobView) -> tuple[int, float, str]:
        values = path.values(job.body)
        if not values:
            return 0, 0.0, ""
        if is_number(values[0]):
            return 1, float(values[0]), ""
        return 2, 0.0, shown(values[0])

    return sorted(jobs, key=key)


def _printer(
    form: str, kinds: Sequence[Kind], *, everywhere: bool, single: bool
) -> Callable[[Sequence[JobView]], None]:
    """Return what prints jobs, call by call."""
    if form not in {"text", "wide"}:
        filled = _template(form)

        def print_data(jobs: Sequence[JobView]) -> None:
            bodies = [job.body for job in jobs]
            if filled is not None:
                out(filled.text(as_object(bodies, single=single)))
            elif form == "name":
                out(as_names(bodies))
            else:
                out((as_json if form == "json" else as_yaml)(bodies, single=single))

        return print_data

    return _table_printer(kinds, everywhere=everywhere, wide=form == "wide")


def _template(form: str) -> Template | None:
    """Return what is filled in; None for another form."""
    name, _, template = form.partition("=")
    if name != "jsonpath":
        return None
    from mmrlhfctl.text.jsonpath import parse_template

    return parse_template(template)


def _table_printer(
    kinds: Sequence[Kind], *, everywhere: bool, wide: bool
) -> Callable[[Sequence[JobView]], None]:
    """Return what prints rows, whose columns are those of the first call."""
    columns: JobColumns | None = None
    kept: list[int] = []
    table: Table | None = None

    def print_rows(jobs: Sequence[JobView]) -> None:
        nonlocal columns, kept, table
        now = datetime.now(UTC)
        first = table is None
        if columns is None:
            listed = tuple({job.kind.name: job.kind for job in jobs}.values()) or kinds
            columns = JobColumns(listed, namespaces=everywhere, wide=wide)
        rows = [columns.row(job, now) for job in jobs]
        if table is None:
            headers = columns.headers
            kept = list(range(len(headers)))
            if sys.stdout.isatty() and not wide:
                kept = fitting(headers, rows, shutil.get_terminal_size().columns)
            table = Table([headers[place] for place in kept], colours=colours_wanted(sys.stdout))
        shown_rows = [[row[place] for place in kept] for row in rows]
        out("\n".join(table.lines(shown_rows, header=first)))

    return print_rows


def _watch(
    cluster: Cluster, targets: Targets, *, form: str, everywhere: bool, selector: str | None
) -> None:
    query = {} if selector is None else {"labelSelector": selector}
    namespace = None if everywhere else cluster.namespace
    names: set[tuple[str, str]] | None = None
    kinds = targets.kinds
    if targets.jobs:
        jobs = find_jobs(cluster, targets.jobs)
        names = {(job.kind.name, job.name) for job in jobs}
        kinds = tuple({job.kind.name: job.kind for job in jobs}.values())
        if len(jobs) == 1:
            query["fieldSelector"] = f"metadata.name={jobs[0].name}"
    show = _printer(form, kinds, everywhere=everywhere, single=form != "name")
    paths = [(kind, job_path(kind, namespace)) for kind in kinds]
    shown: dict[str, str] = {}
    for bodies in _merged(cluster, paths, query):
        views = [JobView.read(body) for body in bodies]
        fresh = [
            view
            for view in views
            if (names is None or (view.kind.name, view.name) in names)
            and shown.get(view.uid) != view.metadata["resourceVersion"]
        ]
        shown |= {view.uid: view.metadata["resourceVersion"] for view in fresh}
        if form not in {"text", "wide", "name"}:
            for view in fresh:
                show([view])
        elif fresh:
            show(fresh)
        sys.stdout.flush()


def _after(change: Change) -> Manifest:
    """Return the object of a change; one that is gone shows that it is."""
    body = change.object
    if change.type != "DELETED":
        return body
    return {**body, "metadata": {"deletionTimestamp": "now", **body["metadata"]}}


def _merged(
    cluster: Cluster, paths: Sequence[tuple[Kind, str]], query: dict[str, str]
) -> Iterator[list[Manifest]]:
    """Yield what is new in several collections: first all lists at once, then change by change."""
    events: queue.Queue[tuple[int, Snapshot | Change | BaseException]] = queue.Queue()

    def feed(position: int, path: str) -> None:
        try:
            for event in observe(cluster, path, query=query, tell=note):
                events.put((position, event))
        except BaseException as error:  # noqa: BLE001 - raised again by the reader
            events.put((position, error))

    for position, (_, path) in enumerate(paths):
        threading.Thread(target=feed, args=(position, path), daemon=True).start()
    first: dict[int, list[Manifest]] = {}
    while True:
        position, event = events.get()
        if isinstance(event, BaseException):
            raise event
        bodies = list(event.items) if isinstance(event, Snapshot) else [_after(event)]
        if len(first) == len(paths):
            yield bodies
            continue
        # Nothing is shown before all lists are there, so that columns fit from the start.
        first[position] = first.get(position, []) + bodies
        if len(first) == len(paths):
            yield [body for number in sorted(first) for body in first[number]]
