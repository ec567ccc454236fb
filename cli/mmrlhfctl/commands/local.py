"""Commands that need no cluster."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mmrlhfctl.commands.options import (
    FileOption,
    Format,
    OutputOption,
    PathArgument,
    SetOption,
    one_file,
)

__all__ = ["completion", "estimate", "explain", "help_", "run", "validate", "version"]


class Shell(StrEnum):
    """Shells with completion."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def run(
    path: PathArgument = None,
    *,
    file: FileOption = None,
    local: Annotated[bool, typer.Option("--local", help="Run on this machine.")] = False,
    assignments: SetOption = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start over instead of going on from a checkpoint.")
    ] = False,
    state_dir: Annotated[
        Path | None,
        typer.Option(
            "--state-dir",
            metavar="FOLDER",
            help="Folder for logs and progress of local runs (default: ~/.local/state/mmrlhf).",
        ),
    ] = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """Run a job file on this machine, to its end.

    Of a sweep, its points run one after another; of a pipeline, its steps. Exit code 0 means that
    the job succeeded; other codes are the job's own: 1 when it failed, 2 when the job file, data or
    model is wrong, 130 after Ctrl-C.
    """
    from mmrlhfctl.local.run import run_job

    code = run_job(
        one_file(path, file),
        local=local,
        assignments=assignments or [],
        fresh=fresh,
        state_dir=state_dir,
        as_json=output is Format.JSON,
    )
    raise typer.Exit(code)


def validate(
    path: PathArgument = None,
    *,
    file: FileOption = None,
) -> None:
    """Check a job file without running it.

    Lists every problem; exits 2 when there is one.
    """
    from mmrlhfctl.validation import validate_file

    validate_file(one_file(path, file))


def estimate(
    path: PathArgument = None,
    *,
    file: FileOption = None,
    gpu_memory: Annotated[
        str, typer.Option("--gpu-memory", metavar="QUANTITY", help="Memory of one GPU.")
    ] = "79Gi",
    tokens: Annotated[
        int | None,
        typer.Option("--tokens", help="Tokens of the largest query; else the data is looked at."),
    ] = None,
    queries: Annotated[
        int, typer.Option("--queries", help="Queries to look at for the largest.")
    ] = 256,
    output: OutputOption = Format.TEXT,
) -> None:
    """Say how much memory a training takes.

    By part, and what to change if it does not fit. Reads the model's configuration and tokenizer
    and the data, and no weights; nothing is trained. That it does not fit is an answer, with exit
    code 0: fits says it in -o json.
    """
    from mmrlhfctl.local.steps import run_step

    given = [f"--gpu-memory={gpu_memory}", f"--queries={queries}"]
    given += [] if tokens is None else [f"--tokens={tokens}"]
    given += ["--output=json"] if output is Format.JSON else []
    raise typer.Exit(run_step("estimate", [str(one_file(path, file)), *given]))


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


def version(output: OutputOption = Format.TEXT) -> None:
    """Show the versions of this program and of the API."""
    from mmrlhfctl.terminal import out
    from mmrlhfctl.versions import versions_json, versions_text

    out(versions_json() if output is Format.JSON else versions_text())


def completion(
    shell: Annotated[Shell, typer.Argument(metavar="SHELL", help="Shell to complete for.")],
) -> None:
    """Print the completion script of a shell.

    For instance: source <(mmrlhfctl completion bash)
    """
    from mmrlhfctl.completion import completion_script
    from mmrlhfctl.terminal import out

    out(completion_script(shell.value))


def help_(
    click_context: typer.Context,
    command: Annotated[
        str | None, typer.Argument(metavar="COMMAND", help="Command (default: all of them).")
    ] = None,
) -> None:
    """Show the help of a command."""
    from mmrlhfctl.grammar import show_help
    from mmrlhfctl.terminal import out

    out(show_help(click_context, command))
