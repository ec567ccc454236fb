"""Whole lines out of what a process writes."""

from __future__ import annotations

import re

__all__ = ["LONGEST", "Lines"]

LONGEST = 2**16
"""Bytes of a line at most; a longer one is cut, at a space where there is one."""
_LOOK_BACK = 2**13
_ENDS = re.compile(rb"\r*\n|\r+")


class Lines:
    """The lines of one stream. What ends by a carriage return, as of a progress bar, is one too."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        """Take what was written; return the lines that have ended, without their ends."""
        data = self._rest + data
        settled = data.rstrip(b"\r")  # a line feed may follow
        *lines, rest = _ENDS.split(settled)
        *pieces, rest = _cut(rest)
        self._rest = rest + data[len(settled) :]
        return _text([*(piece for line in lines for piece in _cut(line)), *pieces])

    def end(self) -> list[str]:
        """Return what is left when the stream has ended."""
        rest, self._rest = self._rest.rstrip(b"\r"), b""
        return _text([rest] if rest else [])


def _cut(line: bytes) -> list[bytes]:
    """Return a line in pieces that are not too long; words are cut where nothing else helps."""
    pieces = []
    while len(line) > LONGEST:
        space = line.rfind(b" ", LONGEST - _LOOK_BACK, LONGEST)
        end = LONGEST if space < 0 else space + 1
        pieces.append(line[:end])
        line = line[end:]
    return [*pieces, line]


def _text(lines: list[bytes]) -> list[str]:
    return [line.decode(errors="replace") for line in lines]
