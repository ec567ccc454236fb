"""The program: its commands in the order of ``--help``."""

from __future__ import annotations

import functools
import os
import sys
from typing import Annotated, Final

import typer
from typer.main import get_command

from mmrlhf.client.connection import Connection
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
from mmrlhfctl.grammar import Program
from mmrlhfctl.program import COMPLETE_VARIABLE, PROGRAM, program_name

__all__ = ["COMMANDS", "app", "read_commands", "run_app"]

COMMANDS: Final = {
    "run": "local:run",
    "submit": "changing:submit",
    "clone": "changing:clone",
    "get": "looking:get",
    "status": "looking:status",
    "top": "looking:top",
    "why": "looking:why",
    "logs": "looking:logs",
    "describe": "looking:describe",
    "events": "looking:events",
    "report": "reporting:report",
    "compare": "reporting:compare",
    "lineage": "reporting:lineage",
    "diff": "reporting:diff",
    "cost": "reporting:cost",
    "wait": "changing:wait",
    "suspend": "changing:suspend",
    "resume": "changing:resume",
    "cancel": "changing:cancel",
    "retry": "changing:retry",
    "delete": "changing:delete",
    "doctor": "looking:doctor",
    "validate": "local:validate",
    "estimate": "local:estimate",
    "explain": "local:explain",
    "version": "local:version",
    "completion": "local:completion",
    "import": "formats:import_rows",
    "export": "formats:export_records",
    "gate": "promoting:gate",
    "promote": "promoting:promote",
    "rollback": "promoting:rollback",
    "alias": "promoting:alias",
    "prune": "retention:prune",
    "cron": "scheduling:cron",
    "help": "local:help_",
}
"""All commands, each with its module of `mmrlhfctl.commands` and its name there."""


class _Root(Program):
    """The whole program."""

    homes = COMMANDS


read_commands = functools.cache(get_command)
"""Reads the program from its functions, once; a command is read when it is asked for."""

app = typer.Typer(
    name=PROGRAM,
    help="Align multimodal models the MM-RLHF way, on this machine or on a cluster.",
    cls=_Root,
    no_args_is_help=True,
    add_completion=False,  # the completion command does it
    rich_markup_mode=None,  # plain help: half the start-up time
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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
        BrokenPipeError: Nobody reads its output any more.
    """
    if COMPLETE_VARIABLE in os.environ:
        from mmrlhfctl.completion import teach_shells

        teach_shells()
    try:
        read_commands(app)(args=arguments, prog_name=program_name())
    except SystemExit as end:  # typer ends like this whatever happens
        if isinstance(end.__context__, BrokenPipeError):  # which it takes for a failure
            raise end.__context__ from None
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0
