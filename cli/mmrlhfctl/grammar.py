"""How the command line reads and how its help looks: words of users, none of Python's."""

from __future__ import annotations

import re
from typing import Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

__all__ = ["Command", "Program", "show_help"]

# What others call our commands: kubectl, docker, Slurm, and plain English.
_MEANT: Final = {
    **dict.fromkeys(("apply", "create", "replace"), "submit FILE"),
    "edit": "submit FILE, once the file is changed",
    **dict.fromkeys(("ls", "list", "ps", "jobs"), "get"),
    "watch": "get --watch",
    "queue": "get",
    **dict.fromkeys(("show", "inspect", "info"), "describe JOB"),
    **dict.fromkeys(("log", "tail"), "logs --follow JOB"),
    **dict.fromkeys(("stop", "kill", "abort"), "cancel JOB, or suspend JOB to go on later"),
    "pause": "suspend JOB",
    **dict.fromkeys(("start", "continue", "unpause", "unsuspend"), "resume JOB"),
    **dict.fromkeys(("rm", "remove"), "delete JOB"),
    "train": "run FILE, or submit FILE",
    **dict.fromkeys(("check", "lint"), "validate FILE"),
    "schema": "explain KIND",
}
_TYPES: Final = re.compile(r" <(?:str|int|float|path|(?:int|float) range|list\[\w+\])>")
_LEAST: Final = re.compile(r"x>=(\d+)")


class Command(TyperCommand):
    """A command whose help names no types of Python."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:  # noqa: ANN401 - typer's own context
        """Return the words of the usage line; what must be given stands as it is."""
        return [re.sub(r"[{}]", "", piece) for piece in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401
        """Write the lists of arguments and options."""
        for title, kind in (("Arguments", "argument"), ("Options", "option")):
            records = (
                param.get_help_record(ctx)
                for param in self.get_params(ctx)
                if param.param_type_name == kind
            )
            rows = [
                (_TYPES.sub("", name), _LEAST.sub(r"at least \1", text))
                for name, text in filter(None, records)
            ]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


class Program(TyperGroup):
    """The program: a command that it has under another name is told."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401
        """Return the command that is meant.

        Raises:
            UsageError: There is none of that name.
        """
        meant = _MEANT.get(args[0])
        if meant is not None and args[0] not in self.commands:
            ctx.fail(f"No such command {args[0]!r}. Did you mean: {ctx.command_path} {meant}?")
        return super().resolve_command(ctx, args)


def show_help(context: typer.Context, name: str | None) -> str:
    """Return the help of a command, or that of the program.

    Raises:
        BadParameter: There is no such command.
    """
    root: Any = context.find_root()
    if name is None:
        return str(root.get_help())
    _, command, _ = root.command.resolve_command(root, [name])
    with command.make_context(name, [], parent=root, resilient_parsing=True) as found:
        return str(command.get_help(found))
