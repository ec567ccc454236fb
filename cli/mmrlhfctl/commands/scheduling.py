"""Commands about the schedules of pipelines."""

from __future__ import annotations

from typing import Annotated

import typer

from mmrlhf.client.connection import Connection
from mmrlhfctl.commands.options import AnswerFormat, with_connection
from mmrlhfctl.grammar import Command, Group

__all__ = ["cron"]

cron = typer.Typer(
    name="cron",
    cls=Group,
    help="Show, start and suspend runs by schedule.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

PipelineArgument = Annotated[
    str, typer.Argument(metavar="PIPELINE", help="Name of a pipeline.", show_default=False)
]
PipelinesArgument = Annotated[
    list[str],
    typer.Argument(metavar="PIPELINE", help="Names of pipelines.", show_default=False),
]


@cron.command("list", cls=Command)
@with_connection
def list_(
    *,
    connection: Connection,
    all_namespaces: Annotated[
        bool, typer.Option("--all-namespaces", "-A", help="List those of all namespaces.")
    ] = False,
    output: Annotated[
        AnswerFormat, typer.Option("--output", "-o", help="Form of the list.")
    ] = AnswerFormat.TEXT,
) -> None:
    """Show when pipelines run.

    Lists what was started last, when the next run is due, and what is in its way.
    """
    from mmrlhfctl.verbs.cron import list_schedules

    list_schedules(connection, everywhere=all_namespaces, form=output.value)


@cron.command(cls=Command)
@with_connection
def trigger(
    *,
    connection: Connection,
    pipeline: PipelineArgument,
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the run; random without it.")
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option("--parameter", help="NAME=VALUE for this run; repeatable."),
    ] = None,
    cache: Annotated[
        bool, typer.Option("--cache/--no-cache", help="Take results of earlier runs where it can.")
    ] = True,
) -> None:
    """Start a run of a pipeline now.

    It starts whatever the schedule says, suspended or not, as a Job does by `kubectl create job
    --from=cronjob/NAME`, and counts as a run that goes on for concurrencyPolicy.
    """
    from mmrlhfctl.verbs.cron import trigger_run

    trigger_run(connection, pipeline, name=name, assignments=parameter or [], cache=cache)


@cron.command(cls=Command)
@with_connection
def suspend(*, connection: Connection, pipelines: PipelinesArgument) -> None:
    """Start no more runs by schedule.

    Those that there are go on.
    """
    from mmrlhfctl.verbs.cron import set_suspended

    set_suspended(connection, pipelines, suspend=True)


@cron.command(cls=Command)
@with_connection
def resume(*, connection: Connection, pipelines: PipelinesArgument) -> None:
    """Start runs by schedule again.

    Of the times that passed meanwhile, one run makes up for the latest.
    """
    from mmrlhfctl.verbs.cron import set_suspended

    set_suspended(connection, pipelines, suspend=False)
