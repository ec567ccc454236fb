"""The program: its commands in the order of ``--help``."""

from __future__ import annotations

import functools
import os
import sys
from typing import Annotated

import typer
from typer.main import get_command

from mmrlhf.client.connection import Connection
from mmrlhfctl.commands import (
    changing,
    formats,
    local,
    looking,
    promoting,
    reporting,
    retention,
    scheduling,
)
from mmrlhfctl.commands.options import (
    AsOption,
    ColourOption,
    ContextOption,
    KubeconfigOption,
    NamespaceOption,
    RequestTimeoutOption,
    ServerOption,
    TokenOption,
)
from mmrlhfctl.grammar import Command, Program
from mmrlhfctl.program import COMPLETE_VARIABLE, PROGRAM, program_name

__all__ = ["app", "read_commands", "run_app"]

read_commands = functools.cache(get_command)
"""Reads the commands from their functions, once: most of what a short command costs."""

app = typer.Typer(
    name=PROGRAM,
    help="Align multimodal models the MM-RLHF way, on this machine or on a cluster.",
    cls=Program,
    no_args_is_help=True,
    add_completion=False,  # the completion command does it
    rich_markup_mode=None,  # plain help: half the start-up time
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for command in (
    local.run,
    changing.submit,
    changing.clone,
    looking.get,
    looking.status,
    looking.top,
    looking.why,
    looking.logs,
    looking.describe,
    looking.events,
    reporting.report,
    reporting.compare,
    reporting.lineage,
    reporting.diff,
    reporting.cost,
    changing.wait,
    changing.suspend,
    changing.resume,
    changing.cancel,
    changing.retry,
    changing.delete,
    looking.doctor,
    local.validate,
    local.estimate,
    local.explain,
    local.version,
    local.completion,
):
    app.command(cls=Command)(command)
app.command("import", cls=Command)(formats.import_rows)
app.command("export", cls=Command)(formats.export_records)
for command in (promoting.gate, promoting.promote, promoting.rollback, promoting.alias):
    app.command(cls=Command)(command)
app.command(cls=Command)(retention.prune)
app.add_typer(scheduling.cron)
app.command("help", cls=Command)(local.help_)


def _show_version(wanted: bool) -> None:
    if wanted:
        from mmrlhfctl.versions import own_version

        sys.stdout.write(f"{PROGRAM} {own_version()}\n")
        raise typer.Exit


@app.callback()
def _before(
    click_context: typer.Context,
    *,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
    request_timeout: RequestTimeoutOption = None,
    server: ServerOption = None,
    token: TokenOption = None,
    as_user: AsOption = None,
    color: ColourOption = None,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    del color, version  # their callbacks did it
    click_context.obj = Connection(
        namespace=namespace,
        context=context,
        kubeconfig=kubeconfig,
        request_timeout=request_timeout,
        server=server,
        token=token,
        as_user=as_user,
    )


def run_app(arguments: list[str]) -> int:
    """Run the command that ``arguments`` name and return its exit code.

    Raises:
        CliError: The command failed with a message for the user.
    """
    if COMPLETE_VARIABLE in os.environ:
        from mmrlhfctl.completion import teach_shells

        teach_shells()
    try:
        read_commands(app)(args=arguments, prog_name=program_name())
    except SystemExit as end:  # typer ends like this whatever happens
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0
