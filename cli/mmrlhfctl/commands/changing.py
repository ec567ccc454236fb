"""Commands that change jobs, and those that wait for them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from mmrlhf.client.choice import Choice
from mmrlhf.client.connection import Connection
from mmrlhfctl.commands.formats import EndpointOption, RegionOption
from mmrlhfctl.commands.options import (
    FileOption,
    PathArgument,
    SetOption,
    TimeoutOption,
    one_file,
    with_connection,
    words_for_jobs,
)

__all__ = ["cancel", "clone", "delete", "resume", "retry", "submit", "suspend", "wait"]


class DryRun(StrEnum):
    """Who checks a job that is not submitted."""

    CLIENT = "client"
    SERVER = "server"


class SubmitFormat(StrEnum):
    """Forms of what was submitted."""

    TEXT = "text"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


@with_connection
def submit(
    *,
    connection: Connection,
    path: PathArgument = None,
    file: FileOption = None,
    assignments: SetOption = None,
    generate_name: Annotated[
        bool, typer.Option("--generate-name", help="Add random characters to the name.")
    ] = False,
    dry_run: Annotated[
        DryRun | None,
        typer.Option(
            "--dry-run", help="Only check: here (client), or by the cluster too (server)."
        ),
    ] = None,
    diff: Annotated[
        bool, typer.Option("--diff", help="Show what would change, and change nothing.")
    ] = False,
    force_conflicts: Annotated[
        bool, typer.Option("--force-conflicts", help="Take over fields that others have set.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end of the job.")] = False,
    follow: Annotated[
        bool, typer.Option("--follow", help="Show the logs to the end of the job.")
    ] = False,
    timeout: TimeoutOption = None,
    output: Annotated[
        SubmitFormat, typer.Option("--output", "-o", help="Form of what was submitted.")
    ] = SubmitFormat.TEXT,
) -> None:
    """Submit a job file to the cluster.

    Checks the file first, then applies it: the same file again changes nothing. --dry-run also says
    what the job will take, where its store holds earlier runs like it. With --wait or
    --follow the exit code is 0 when the job succeeded, 1 when it failed or was cancelled, 4 after
    --timeout.
    """
    from mmrlhfctl.verbs.submit import SubmitOptions, submit_file

    options = SubmitOptions(
        assignments=assignments or [],
        generate_name=generate_name,
        dry_run=None if dry_run is None else dry_run.value,
        diff=diff,
        force=force_conflicts,
        wait=wait,
        follow=follow,
        seconds=timeout,
        form=output.value,
    )
    submit_file(connection, one_file(path, file), options)


@with_connection
def clone(
    *,
    connection: Connection,
    job: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            help="A job (NAME or KIND/NAME), a run or pipeline (ar/NAME, ap/NAME), or the folder of"
            " a run: a path or URI.",
            autocompletion=words_for_jobs,
        ),
    ],
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="Name of the new one; one is drawn without."),
    ] = None,
    assignments: SetOption = None,
    submit_it: Annotated[
        bool, typer.Option("--submit", help="Submit it, instead of printing it.")
    ] = False,
    endpoint: EndpointOption = None,
    region: RegionOption = None,
) -> None:
    """Write a job file like a job that there is.

    Without what the cluster has added, and neither suspended nor cancelled; also of a record in a
    store whose job is long gone.
    """
    from mmrlhfctl.verbs.comparing import clone_job

    clone_job(
        connection,
        job,
        name=name,
        assignments=assignments or [],
        submit=submit_it,
        endpoint=endpoint,
        region=region,
    )


@with_connection
def wait(
    *,
    connection: Connection,
    choice: Choice,
    purpose: Annotated[
        str,
        typer.Option(
            "--for",
            metavar="WHAT",
            help="condition=TYPE[=STATUS], jsonpath={FIELD}[=VALUE], or delete.",
        ),
    ] = "condition=Succeeded",
    timeout: TimeoutOption = None,
) -> None:
    """Wait until jobs have a condition, or are gone.

    Exits 0 when it came, 1 when it cannot come any more, such as Succeeded of a job that failed or
    was cancelled, 3 when there is no such job, 4 after --timeout.
    """
    from mmrlhfctl.verbs.wait import wait_for_jobs

    wait_for_jobs(connection, choice, purpose=purpose, seconds=timeout)


@with_connection
def retry(
    *,
    connection: Connection,
    runs: Annotated[list[str], typer.Argument(metavar="RUN", help="NAME or ar/NAME.")],
) -> None:
    """Let runs of pipelines go on from what failed.

    Steps that succeeded are kept; those that failed get a new job.
    """
    from mmrlhfctl.verbs.runs import retry_runs

    retry_runs(connection, runs)


@with_connection
def suspend(*, connection: Connection, choice: Choice) -> None:
    """Stop the pods of jobs and keep the jobs.

    They go on from their latest checkpoint when they are resumed.
    """
    from mmrlhfctl.verbs.change import set_suspended

    set_suspended(connection, choice, suspend=True)


@with_connection
def resume(*, connection: Connection, choice: Choice) -> None:
    """Let suspended jobs go on."""
    from mmrlhfctl.verbs.change import set_suspended

    set_suspended(connection, choice, suspend=False)


@with_connection
def cancel(*, connection: Connection, choice: Choice) -> None:
    """Stop jobs for good, and keep them to look at.

    Pods save a checkpoint before they end, and the jobs fail with reason Cancelled. It cannot be
    taken back: `suspend` is for jobs that are to go on later, `delete` removes them.
    """
    from mmrlhfctl.verbs.change import cancel_jobs

    cancel_jobs(connection, choice)


@with_connection
def delete(
    *,
    connection: Connection,
    choice: Choice,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Return when jobs and pods are gone.")
    ] = True,
    timeout: TimeoutOption = None,
    ignore_not_found: Annotated[
        bool, typer.Option("--ignore-not-found", help="Jobs that are not there are no error.")
    ] = False,
) -> None:
    """Delete jobs and their pods; artifacts stay."""
    from mmrlhfctl.verbs.change import delete_jobs

    delete_jobs(connection, choice, wait=wait, seconds=timeout, ignore_missing=ignore_not_found)
