"""Commands and their options.

Only typer is imported here: what a command needs is imported when it runs, so that ``--help`` and
completion answer at once.
"""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["COMPLETE_VARIABLE", "PROGRAM", "app", "run_app"]

PROGRAM = "mmrlhfctl"
COMPLETE_VARIABLE = "_MMRLHFCTL_COMPLETE"
"""Set by a shell that wants completions instead of a run."""

app = typer.Typer(
    name=PROGRAM,
    help="Align multimodal models the MM-RLHF way, on this machine or on a cluster.",
    no_args_is_help=True,
    add_completion=False,  # the completion command does it
    rich_markup_mode=None,  # plain help: half the start-up time
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

FileOption = Annotated[
    str,
    typer.Option("--file", "-f", help="Job file in YAML or JSON; - reads standard input."),
]


class Format(StrEnum):
    """Forms of a result."""

    TEXT = "text"
    JSON = "json"


class Shell(StrEnum):
    """Shells with completion."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


OutputOption = Annotated[Format, typer.Option("--output", "-o", help="Form of the result.")]


@app.command()
def run(
    *,
    file: FileOption,
    local: Annotated[bool, typer.Option("--local", help="Run on this machine.")] = False,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="Change a field of the file, such as spec.training.epochs=2; repeatable.",
        ),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start over instead of going on from a checkpoint.")
    ] = False,
    state_dir: Annotated[
        Path | None,
        typer.Option(
            "--state-dir",
            help="Folder for logs and progress of local runs (default: ~/.local/state/mmrlhf).",
        ),
    ] = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """Run a job file to its end.

    Exit code 0 means that the job succeeded; other codes are the job's own: 1 when it failed, 2
    when the job file, data or model is wrong, 130 after Ctrl-C.
    """
    from mmrlhfctl.running import run_job

    code = run_job(
        file,
        local=local,
        assignments=assignments or [],
        fresh=fresh,
        state_dir=state_dir,
        as_json=output is Format.JSON,
    )
    raise typer.Exit(code)


@app.command()
def validate(
    file: Annotated[str, typer.Argument(help="Job file in YAML or JSON; - reads standard input.")],
) -> None:
    """Check a job file without running it.

    Lists every problem; exits 2 when there is one.
    """
    from mmrlhfctl.validation import validate_file

    validate_file(file)


@app.command()
def explain(
    path: Annotated[
        str, typer.Argument(metavar="KIND[.FIELD...]", help="Such as mmdpo.spec.objective.beta.")
    ],
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="Show the names of all fields below.")
    ] = False,
) -> None:
    """Describe a kind or one of its fields."""
    from mmrlhfctl.explanation import explain_path
    from mmrlhfctl.terminal import out

    out(explain_path(path, recursive=recursive))


@app.command()
def version(output: OutputOption = Format.TEXT) -> None:
    """Show the versions of this program and of the API."""
    from mmrlhfctl.terminal import out
    from mmrlhfctl.versions import versions_json, versions_text

    out(versions_json() if output is Format.JSON else versions_text())


@app.command()
def completion(
    shell: Annotated[Shell, typer.Argument(help="Shell to complete for.")],
) -> None:
    """Print the completion script of a shell.

    For instance: source <(mmrlhfctl completion bash)
    """
    from mmrlhfctl.completion import completion_script
    from mmrlhfctl.terminal import out

    out(completion_script(shell.value))


def run_app(arguments: list[str]) -> int:
    """Run the command that ``arguments`` name and return its exit code.

    Raises:
        CliError: The command failed with a message for the user.
    """
    if COMPLETE_VARIABLE in os.environ:
        from mmrlhfctl.completion import teach_shells

        teach_shells()
    try:
        app(args=arguments, prog_name=PROGRAM)
    except SystemExit as end:  # typer ends like this whatever happens
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0
