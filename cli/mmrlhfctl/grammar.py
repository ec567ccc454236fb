"""How the command line reads and how its help looks: words of users, none of Python's."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import Enum
from importlib import import_module
from typing import Any, ClassVar, Final

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

__all__ = ["Command", "Commands", "Group", "Program", "show_help"]

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
_INTEGER: Final = re.compile(r"-?[0-9]{1,18}")


class _Plain:
    """What a word becomes where that is plain to see.

    typer reads all words by pydantic, which takes longer to load than a command to list its jobs.
    What is not plain, and what is wrong, is left to typer, whose words for it are good.
    """

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:  # noqa: ANN401 - typer's own
        """Return the value of an argument or an option."""
        several = param.multiple or param.nargs == -1
        if value is None:
            return () if several else None
        found = _words(value, param) if several else _word(value, param.type_descriptor)
        if found is not None:
            return found
        param._runtime_param = None  # noqa: SLF001 - typer then makes its own
        try:
            return param.get_runtime_param().coerce(value, param=param, ctx=ctx)
        except typer.BadParameter as error:
            error.message = error.message.removeprefix("Value error, ")  # a word of pydantic's
            raise


def _words(values: object, param: Any) -> list[str] | None:  # noqa: ANN401 - typer's own
    told = param.type_descriptor
    plain = told.annotation == list[str] and told.parameter_info.parser is None
    return list(values) if plain and isinstance(values, list | tuple) else None


def _word(value: Any, told: Any) -> Any:  # noqa: ANN401 - of any type
    kind, more = told.annotation, told.parameter_info
    if isinstance(value, str) and more.parser is not None:
        return more.parser(value)
    if kind is str and isinstance(value, str):
        return value
    if isinstance(kind, type) and issubclass(kind, Enum) and value in list(kind):
        return kind(value)
    if kind is int and _INTEGER.fullmatch(str(value)) and _is_within(int(value), more):
        return int(value)
    if kind is float and isinstance(value, float) and _is_within(value, more):  # a default
        return value
    return None


def _is_within(number: float, more: Any) -> bool:  # noqa: ANN401 - typer's own
    least, most = more.min, more.max
    return (least is None or number >= least) and (most is None or number <= most)


def _read_plainly(params: list[Any]) -> list[Any]:
    for param in params:
        # A typer that keeps no such thing reads all words itself.
        if getattr(param, "_runtime_param", None) is None:
            param._runtime_param = _Plain()  # noqa: SLF001
    return params


class Commands(Mapping[str, Any]):
    """Commands by their name, each of which is imported and read when it is asked for.

    Args:
        homes: Where each is: its module of `mmrlhfctl.commands` and its name there.
    """

    def __init__(self, homes: Mapping[str, str]) -> None:
        self._homes = homes
        self._read: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - typer's own
        if name not in self._read:
            module, _, function = self._homes[name].partition(":")
            found = getattr(import_module(f"mmrlhfctl.commands.{module}"), function)
            if not isinstance(found, typer.Typer):
                alone = typer.Typer(
                    add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False
                )
                alone.command(name, cls=Command)(found)
                found = alone
            self._read[name] = get_command(found)
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._homes)

    def __len__(self) -> int:
        return len(self._homes)


class Command(TyperCommand):
    """A command whose help names no types of Python."""

    def get_params(self, ctx: Any) -> list[Any]:  # noqa: ANN401 - typer's own
        """Return the arguments and options, that of the help too."""
        return _read_plainly(super().get_params(ctx))

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


class Group(TyperGroup):
    """Commands under one name."""

    def get_params(self, ctx: Any) -> list[Any]:  # noqa: ANN401 - typer's own
        """Return the options."""
        return _read_plainly(super().get_params(ctx))


class Program(Group):
    """The program: a command that it has under another name is told."""

    homes: ClassVar[Mapping[str, str]] = {}
    """Where its commands are; see `Commands`."""

    def __init__(self, *given: Any, **named: Any) -> None:  # noqa: ANN401 - typer's own
        super().__init__(*given, **named)
        self.commands: Any = Commands(self.homes)  # the like of a dict, which is never written

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
