"""Commands that show finished runs."""

from __future__ import annotations

from typing import Annotated

import typer

from mmrlhf.client.connection import Connection
from mmrlhfctl.commands.formats import EndpointOption, RegionOption
from mmrlhfctl.commands.options import Format, OutputOption, with_connection, words_for_jobs

__all__ = ["compare", "cost", "diff", "lineage", "report"]


@with_connection
def report(
    *,
    connection: Connection,
    run: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN",
            help="A job (NAME, KIND NAME or KIND/NAME), the folder of a run (a path or URI), or a"
            " sweep: sw/NAME, or its sweep.json.",
            autocompletion=words_for_jobs,
        ),
    ],
    as_text: Annotated[
        bool, typer.Option("--print", "-p", help="Tell it in words instead.")
    ] = False,
    open_it: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="Copy the page to a file.")
    ] = None,
    endpoint: EndpointOption = None,
    region: RegionOption = None,
) -> None:
    """Show the report of a finished training.

    Says where its page is: curves, held-out measures and answers before and after, rows of largest
    loss. Stores are read from this machine, with the credentials of its environment. Of a sweep,
    draws the page: settings by their figure, a map of two fields, points.
    """
    from mmrlhfctl.verbs.report import show_report

    show_report(
        connection,
        run,
        as_text=as_text,
        open_it=open_it,
        output=output,
        endpoint=endpoint,
        region=region,
    )


@with_connection
def compare(
    *,
    connection: Connection,
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN",
            help="Jobs (NAME or KIND/NAME) or folders of runs: paths or URIs.",
            autocompletion=words_for_jobs,
        ),
    ],
    page: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="Page to write.")
    ] = "compare.html",
    endpoint: EndpointOption = None,
    region: RegionOption = None,
) -> None:
    """Lay finished trainings over each other.

    Prints their figures and the fields in which their jobs differ, and writes a page with their
    curves.
    """
    from mmrlhfctl.verbs.report import compare_runs

    compare_runs(connection, runs, page=page, endpoint=endpoint, region=region)


@with_connection
def lineage(
    *,
    connection: Connection,
    run: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN",
            help="A job (NAME, KIND NAME or KIND/NAME), the folder of a run, or something in it: a"
            " path or URI.",
            autocompletion=words_for_jobs,
        ),
    ],
    alias: Annotated[
        str | None,
        typer.Option("--alias", metavar="NAME", help="An alias; RUN is the folder of artifacts."),
    ] = None,
    html: Annotated[
        str | None,
        typer.Option("--html", metavar="FILE", help="Write it as a page, with the graph."),
    ] = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Read large sources anew too, up to 1 GiB each."),
    ] = False,
    depth: Annotated[int, typer.Option("--depth", min=1, max=200, help="Most runs in a row.")] = 20,
    output: OutputOption = Format.TEXT,
    endpoint: EndpointOption = None,
    region: RegionOption = None,
) -> None:
    """Show where a run, a model or an alias comes from.

    Follows what each run has recorded of its inputs, back to the first data, and says of each
    whether what was read is still there: same, changed since, or gone. Stores are read from this
    machine, with the credentials of its environment.
    """
    from mmrlhfctl.verbs.lineage import show_lineage

    show_lineage(
        connection,
        run,
        alias=alias,
        depth=depth,
        check=check,
        as_json=output is Format.JSON,
        page=html,
        endpoint=endpoint,
        region=region,
    )


@with_connection
def diff(
    *,
    connection: Connection,
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN RUN",
            help="Jobs (NAME or KIND/NAME), runs or pipelines (ar/NAME, ap/NAME), or folders of"
            " runs: paths or URIs.",
            autocompletion=words_for_jobs,
        ),
    ],
    output: OutputOption = Format.TEXT,
    endpoint: EndpointOption = None,
    region: RegionOption = None,
) -> None:
    """Show what differs between two runs.

    Fields that were asked for, defaults included; image and version; what each has read, by
    digest; and figures. Of jobs that have not ended, what the cluster knows.
    """
    from mmrlhfctl.verbs.comparing import show_difference

    as_json = output is Format.JSON
    show_difference(connection, runs, as_json=as_json, endpoint=endpoint, region=region)


@with_connection
def cost(
    *,
    connection: Connection,
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN",
            help="Jobs (NAME or KIND/NAME), runs of pipelines (ar/NAME) for each of their steps, or"
            " folders of runs: paths or URIs.",
            autocompletion=words_for_jobs,
        ),
    ] = None,
    forecast: Annotated[
        str | None,
        typer.Option(
            "--forecast",
            metavar="FILE",
            help="Job file: what it will take, by finished runs below RUN, or in its own store.",
        ),
    ] = None,
    price: Annotated[
        float | None,
        typer.Option("--price", metavar="NUMBER", min=0, help="Of one GPU-hour."),
    ] = None,
    prices: Annotated[
        str | None,
        typer.Option(
            "--prices",
            metavar="FILE",
            help="Of GPU-hours by pool of nodes: YAML; also MMRLHFCTL_PRICES.",
        ),
    ] = None,
    figure: Annotated[
        str | None,
        typer.Option(
            "--per",
            metavar="FIGURE",
            help="What a point of it has taken, such as afterPreferenceAccuracy.",
        ),
    ] = None,
    endpoint: EndpointOption = None,
    region: RegionOption = None,
) -> None:
    """Show what runs have cost, or what one will.

    GPU-hours and hours waited, by what each attempt has recorded of its start and end. Attempts
    that ended otherwise than well or interrupted may have lost what they did since their last
    checkpoint. With --forecast, what jobs of a file will take.
    """
    from mmrlhfctl.verbs.cost import show_cost, show_forecast

    if forecast is not None:
        show_forecast(
            forecast, runs or [], price=price, table=prices, endpoint=endpoint, region=region
        )
        return
    if not runs:
        raise typer.BadParameter("name a run, or a job file by --forecast", param_hint="RUN")
    show_cost(
        connection,
        runs,
        price=price,
        table=prices,
        figure=figure,
        endpoint=endpoint,
        region=region,
    )
