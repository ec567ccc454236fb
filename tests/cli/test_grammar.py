"""Words of a command line become what typer itself makes of them, without what that loads."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.core import TyperCommand
from typer.main import get_command

from mmrlhfctl.commands.options import ColourOption, span
from mmrlhfctl.grammar import Command

WORDS = [
    *(
        ["--count", word]
        for word in ("3", "-2", "03", "+3", " 3", "1_000", "3.0", "x", "", "9" * 30)
    ),
    *(["--few", word] for word in ("3", "1", "0", "-1", "x")),
    *(["--form", word] for word in ("text", "TEXT", "json", "jsn", "")),
    *(["--span", word] for word in ("3s", "1h30m", "soon", "")),
    *(["--rate", word] for word in ("0.5", "x")),
    *(["--color", word] for word in ("auto", "blue")),
    ["--many", "a", "--many", "b"],
    ["--numbers", "1", "--numbers", "2"],
    ["--numbers", "x"],
    ["--path", "/tmp"],
    ["--flag"],
    ["--no-flag"],
    ["--text", ""],
    ["--text", "\u00e9"],
    ["a", "b"],
    ["--unknown"],
    [],
]


class Form(StrEnum):
    """Forms of something."""

    TEXT = "text"
    JSON = "json"


def outcome(cls: type[TyperCommand], words: list[str]) -> Any:
    """Return the values that a command of a class makes of words, or what it says of them."""
    found: dict[str, Any] = {}

    def take(
        *,
        names: Annotated[list[str] | None, typer.Argument()] = None,
        count: Annotated[int | None, typer.Option("--count")] = None,
        few: Annotated[int, typer.Option("--few", min=1)] = 1,
        form: Annotated[Form, typer.Option("--form")] = Form.TEXT,
        seconds: Annotated[float | None, typer.Option("--span", parser=span)] = None,
        rate: Annotated[float, typer.Option("--rate")] = 1.0,
        many: Annotated[list[str] | None, typer.Option("--many")] = None,
        numbers: Annotated[list[int] | None, typer.Option("--numbers")] = None,
        path: Annotated[Path | None, typer.Option("--path")] = None,
        flag: Annotated[bool, typer.Option("--flag/--no-flag")] = True,
        text: Annotated[str | None, typer.Option("--text")] = None,
        color: ColourOption = None,
    ) -> None:
        found.update(locals())
        del found["found"]

    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(cls=cls)(take)
    try:
        get_command(app).main(args=list(words), standalone_mode=False)
    except typer.TyperException as error:
        return type(error), getattr(error, "message", None), getattr(error, "param_hint", None)
    return {name: (type(value), value) for name, value in found.items()}


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_a_word_becomes_what_typer_makes_of_it(words: list[str]) -> None:
    """And what is wrong is said in its words, but for a class of Python before them."""
    theirs = outcome(TyperCommand, words)
    if isinstance(theirs, tuple):
        kind, message, hint = theirs
        theirs = (kind, message.removeprefix("Value error, "), hint)
    assert outcome(Command, words) == theirs
