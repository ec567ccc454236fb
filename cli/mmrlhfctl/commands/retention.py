"""The command that removes what nothing needs any more."""

from __future__ import annotations

from typing import Annotated

import typer

from mmrlhf.client.connection import Connection
from mmrlhfctl.commands.formats import EndpointOption, RegionOption
from mmrlhfctl.commands.options import Format, OutputOption, with_connection

__all__ = ["prune"]


@with_connection
def prune(
    *,
    connection: Connection,
    store: Annotated[
        str,
        typer.Argument(
            metavar="STORE",
            help="Folder of artifacts (a path, file:// or s3://), or a pipeline: ap/NAME.",
            show_default=False,
        ),
    ],
    yes: Annotated[
        bool,
        typer.Option("--yes", help="Mark what may go, and remove what was marked before."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Change nothing, as without --yes.")
    ] = False,
    last: Annotated[
        int, typer.Option("--last", min=1, help="Latest runs of each job or step that stay.")
    ] = 3,
    rollbacks: Annotated[
        int | None,
        typer.Option("--rollbacks", min=1, help="Rollback targets of an alias that stay (all)."),
    ] = None,
    recent_days: Annotated[
        float, typer.Option("--recent-days", min=0, help="Days for which all stays.")
    ] = 7.0,
    wait_days: Annotated[
        float, typer.Option("--wait-days", min=0, help="Days between mark and removal.")
    ] = 1.0,
    cache_days: Annotated[
        float, typer.Option("--cache-days", min=0, help="Days for which cached values stay.")
    ] = 30.0,
    unfinished_days: Annotated[
        float | None,
        typer.Option(
            "--unfinished-days", min=0, help="Days after which runs go that have not ended."
        ),
    ] = None,
    pipeline: Annotated[
        str | None, typer.Option("--pipeline", help="Only runs of this pipeline may go.")
    ] = None,
    of_namespace: Annotated[
        str | None, typer.Option("--of-namespace", help="Only runs of this namespace may go.")
    ] = None,
    also: Annotated[
        list[str] | None,
        typer.Option("--also", help="Another store that may name something; repeatable."),
    ] = None,
    output: OutputOption = Format.TEXT,
    endpoint: EndpointOption = None,
    region: RegionOption = None,
) -> None:
    """Show which runs nothing needs, or remove them.

    Changes nothing without --yes. Aliases, their rollbacks, the latest runs, runs that have not
    ended and all that these were made from stay. A run is marked first, and goes a day later if
    nothing began to need it. Of ap/NAME, what jobs and runs of the cluster need stays too.
    docs/retention.md has the whole of it.
    """
    from mmrlhfctl.local.steps import run_step
    from mmrlhfctl.verbs.prune import read_store

    if yes and dry_run:
        raise typer.BadParameter("give one of --yes and --dry-run", param_hint="--dry-run")
    options = {
        "last": last,
        "rollbacks": rollbacks,
        "recent-days": recent_days,
        "wait-days": wait_days,
        "cache-days": cache_days,
        "unfinished-days": unfinished_days,
        "pipeline": pipeline,
        "namespace": of_namespace,
        "endpoint": endpoint,
        "region": region,
    }
    given = [f"--{name}={value}" for name, value in options.items() if value is not None]
    given += [f"--also={one}" for one in also or []]
    given += ["--yes"] if yes else []
    given += ["--output=json"] if output is Format.JSON else []
    uri, known = read_store(connection, store)
    raise typer.Exit(run_step("prune", [uri, *known, *given]))
