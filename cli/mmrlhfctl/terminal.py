"""Standard output for data, standard error for everything else; colours on a terminal only.

All that a command writes goes through here. What others wrote steers no terminal (`make_safe`):
only the colours of this program stay.
"""

from __future__ import annotations

import os
import re
import sys
from contextvars import ContextVar
from typing import Final, TextIO

__all__ = ["choose_colours", "colours_wanted", "error", "note", "out"]

_RED = "\x1b[1;31m"
_RESET = "\x1b[0m"
_PLAIN: Final = re.compile(r"[\n\x20-\x7e]*")
"""Text that is safe as it is."""
_COLOURS: Final = re.compile(r"(\x1b\[(?:0|3[1-6]|1;31)m)")
"""What `mmrlhfctl.text` and this module write."""
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
    text = _shown(text, colours=colours_wanted(sys.stdout))
    sys.stdout.write(text if text.endswith("\n") else text + "\n")


def note(text: str) -> None:
    """Tell a person something that is not data."""
    _tell(_safe(text))


def error(text: str) -> None:
    """Tell a person what went wrong."""
    prefix = f"{_RED}error:{_RESET}" if colours_wanted(sys.stderr) else "error:"
    _tell(f"{prefix} {_safe(text)}")


def _tell(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def _shown(text: str, *, colours: bool) -> str:
    if not colours:
        return _safe(text)
    parts = _COLOURS.split(text)
    parts[::2] = [_safe(part) for part in parts[::2]]
    return "".join(parts)


def _safe(text: str) -> str:
    if _PLAIN.fullmatch(text):
        return text
    # Its package reads the types of all kinds, which help has no time for.
    from mmrlhf_api.plain_text import make_safe

    return make_safe(text, lines=True)
