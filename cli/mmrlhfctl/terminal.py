"""Standard output for data, standard error for everything else; colours on a terminal only."""

from __future__ import annotations

import os
import sys
from typing import TextIO

__all__ = ["colours_wanted", "error", "note", "out"]

_RED = "\x1b[1;31m"
_RESET = "\x1b[0m"


def colours_wanted(stream: TextIO) -> bool:
    """Return whether ``stream`` is a terminal that takes colours (see no-color.org)."""
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
