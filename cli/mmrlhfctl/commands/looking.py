"""Commands that look at a cluster and change nothing."""

from __future__ import annotations

from typing import Annotated

import typer

from mmrlhf.client.connection import Connection
from mmrlhfctl.commands.options import (
    AnswerFormat,
    AnswerOption,
    Format,
    JobArgument,
    JobsArgument,
    ObjectOption,
    OutputOption,
    SelectorOption,
    SortOption,
    span,
    with_connection,
    words_for_jobs,
)

__all__ = ["describe", "doctor", "events", "get", "logs", "status", "top", "why"]

TargetsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KIND|JOB",
        help="A kind, jobs, or both; also KIND/NAME.",
        autocompletion=words_for_jobs,
    ),
]
WatchOption = Annotated[bool, typer.Option("--watch", "-w", help="Go on with what changes.")]
EverywhereOption = Annotated[
    bool, typer.Option("--all-namespaces", "-A", help="List the jobs of all namespaces.")
]


@with_connection
def get(
    *,
    connection: Connection,
    targets: TargetsArgument = None,
    output: ObjectOption = "text",
    watch: WatchOption = False,
    all_namespaces: EverywhereOption = False,
    selector: SelectorOption = None,
    sort_by: SortOption = None,
) -> None:
    """List jobs of all kinds, of one kind, or by name."""
    from mmrlhfctl.verbs.get import get_jobs

    get_jobs(
        connection,
        targets or [],
        form=output,
        watch=watch,
        all_namespaces=all_namespaces,
        selector=selector,
        sort_by=sort_by,
        detail=False,
    )


@with_connection
def status(
    *,
    connection: Connection,
    targets: TargetsArgument = None,
    output: ObjectOption = "text",
    watch: WatchOption = False,
    all_namespaces: EverywhereOption = False,
    selector: SelectorOption = None,
    sort_by: SortOption = None,
) -> None:
    """Show where jobs are, why, and how far.

    Without names it lists jobs as `get` does.
    """
    from mmrlhfctl.verbs.get import get_jobs

    get_jobs(
        connection,
        targets or [],
        form=output,
        watch=watch,
        all_namespaces=all_namespaces,
        selector=selector,
        sort_by=sort_by,
        detail=True,
    )


@with_connection
def top(
    *,
    connection: Connection,
    kinds: Annotated[
        list[str] | None, typer.Argument(metavar="KIND", help="Kinds, such as mmdpo,reward.")
    ] = None,
    all_namespaces: EverywhereOption = False,
) -> None:
    """Show what runs and what waits, the largest first.

    GPUs, how far, how fast, since when. Jobs whose pods all run come first; jobs that have ended
    are left out.
    """
    from mmrlhfctl.verbs.top import show_top

    show_top(connection, kinds or [], everywhere=all_namespaces)


@with_connection
def logs(
    *,
    connection: Connection,
    job: JobArgument,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on to the end of the job, over restarts.")
    ] = False,
    rank: Annotated[
        str, typer.Option("--rank", metavar="RANKS", help="Nodes: all, last, 0, or 0,3.")
    ] = "all",
    attempt: Annotated[
        int | None,
        typer.Option("--attempt", metavar="N", min=0, help="Attempt, from 0 (default: current)."),
    ] = None,
    previous: Annotated[
        bool, typer.Option("--previous", help="The attempt before the current one.")
    ] = False,
    since: Annotated[
        float | None,
        typer.Option("--since", metavar="DURATION", parser=span, help="Only the last, such as 5m."),
    ] = None,
    tail: Annotated[
        int | None,
        typer.Option("--tail", metavar="N", help="Only so many lines of each node; -1 is all."),
    ] = None,
    container: Annotated[
        str | None,
        typer.Option("--container", "-c", metavar="NAME", help="Container (default: the job's)."),
    ] = None,
    archived: Annotated[
        bool, typer.Option("--archived", help="Read the artifact store instead of pods.")
    ] = False,
    prefix: Annotated[
        bool | None,
        typer.Option(
            "--prefix/--no-prefix", help="Name the pod on each line (default: with several)."
        ),
    ] = None,
    timestamps: Annotated[
        bool, typer.Option("--timestamps", help="Begin each line with its time.")
    ] = False,
) -> None:
    """Show the logs of a job's nodes.

    With --follow it waits for pods, goes on with the next attempt after a restart, and ends with
    the job: exit code 0 when it succeeded, 1 when it failed or was cancelled. Ctrl-C leaves the job
    alone. With --archived it shows what the job's artifact store has, of pods that are gone too;
    the store is read from this machine, with the credentials of its environment.
    """
    from mmrlhfctl.verbs.log_choice import LogOptions, parse_ranks, parse_tail
    from mmrlhfctl.verbs.logs import show_logs

    options = LogOptions(
        follow=follow,
        ranks=parse_ranks(rank),
        attempt=attempt,
        previous=previous,
        since=since,
        tail=parse_tail(tail),
        container=container,
        archived=archived,
        prefix=prefix,
        timestamps=timestamps,
    )
    show_logs(connection, job, options)


@with_connection
def describe(*, connection: Connection, jobs: JobsArgument) -> None:
    """Show all about jobs: conditions, pods, events, results."""
    from mmrlhfctl.verbs.describe import describe_jobs

    describe_jobs(connection, jobs)


@with_connection
def events(
    *,
    connection: Connection,
    jobs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="JOB",
            help="NAME, KIND NAME or KIND/NAME (default: all jobs).",
            autocompletion=words_for_jobs,
        ),
    ] = None,
    watch: WatchOption = False,
    output: OutputOption = Format.TEXT,
) -> None:
    """Show the events of jobs and their pods."""
    from mmrlhfctl.verbs.describe import show_events

    show_events(connection, jobs or [], watch=watch, form=output.value)


@with_connection
def doctor(*, connection: Connection, output: OutputOption = Format.TEXT) -> None:
    """Check that the cluster can run jobs.

    Looks at the API server, CRDs, permissions, operator, gang providers and nodes. Exits 1 when
    jobs will not run, 5 when the cluster cannot be reached.
    """
    from mmrlhfctl.verbs.doctor import check_cluster

    check_cluster(connection, as_json=output is Format.JSON)


@with_connection
def why(
    *, connection: Connection, job: JobArgument, output: AnswerOption = AnswerFormat.TEXT
) -> None:
    """Say why a job waits, stands still or failed, and what to do.

    Merges what job, pods, events, scheduler, queue, quota, volumes and nodes say into causes, the
    most certain first, each with its evidence and a fix; and looks for room on the nodes as the
    scheduler does. What you may not read is listed as not looked at. Exits 0 with any answer, 3
    when there is no such job, 5 when the cluster cannot be reached.
    """
    from mmrlhfctl.verbs.why import tell_why

    tell_why(connection, job, form=output.value)
