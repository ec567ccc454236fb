"""Standard output for data, standard error for everything else; colours on a terminal only."""

from __future__ import annotations

import os
import sys
from contextvars import ContextVar
from typing import TextIO

__all__ = ["choose_colours", "colours_wanted", "error", "note", "out"]

_RED = "\x1b[1;31m"
_RESET = "\x1b[0m"
_CHOICE: ContextVar[str] = ContextVar("colours", default="auto")


def choose_colours(choice: str) -> None:
    """Use colours always, never, or (auto) on terminals that take them."""
    _CHOICE.set(choice)


def colours_wanted(stream: TextIO) -> bool:
    """Return whether to write colours to ``stream`` (see no-color.org)."""
    if _CHOICE.get() != "auto":
        return _CHOICE.get() == "always"
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def out(text: str) -> None:
    """Write data."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")


def note(text: str) -> None:
    """Tell a person something that is not data."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def error(text: str) -> None:
    """Tell a person what went wrong."""
    prefix = f"{_RED}error:{_RESET}" if colours_wanted(sys.stderr) else "error:"
    note(f"{prefix} {text}")
