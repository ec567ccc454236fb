"""The program: its commands in the order of ``--help``."""

from __future__ import annotations

import os

import typer

from mmrlhf.client.connection import Connection
from mmrlhfctl.commands import changing, formats, local, looking
from mmrlhfctl.commands.options import (
    ColourOption,
    ContextOption,
    KubeconfigOption,
    NamespaceOption,
    RequestTimeoutOption,
)
from mmrlhfctl.program import COMPLETE_VARIABLE, PROGRAM, program_name

__all__ = ["app", "run_app"]

app = typer.Typer(
    name=PROGRAM,
    help="Align multimodal models the MM-RLHF way, on this machine or on a cluster.",
    no_args_is_help=True,
    add_completion=False,  # the completion command does it
    rich_markup_mode=None,  # plain help: half the start-up time
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for command in (
    local.run,
    changing.submit,
    looking.get,
    looking.status,
    looking.logs,
    looking.describe,
    looking.events,
    changing.wait,
    changing.suspend,
    changing.resume,
    changing.cancel,
    changing.delete,
    looking.doctor,
    local.validate,
    local.explain,
    local.version,
    local.completion,
):
    app.command()(command)
app.command("import")(formats.import_rows)
app.command("export")(formats.export_records)


@app.callback()
def _before(
    click_context: typer.Context,
    *,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
    request_timeout: RequestTimeoutOption = None,
    color: ColourOption = None,
) -> None:
    del color  # its callback did it
    click_context.obj = Connection(
        namespace=namespace,
        context=context,
        kubeconfig=kubeconfig,
        request_timeout=request_timeout,
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
        app(args=arguments, prog_name=program_name())
    except SystemExit as end:  # typer ends like this whatever happens
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0
