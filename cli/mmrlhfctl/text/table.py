"""Tables of text: stable columns, no blank cells, colours only where they are wanted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from mmrlhf_api.plain_text import make_safe

__all__ = ["Cell", "Style", "Table", "cell_width", "line_width", "paint"]

_GAP = "   "
_RESET = "\x1b[0m"


class Style(Enum):
    """What a cell means to the eye."""

    NONE = ""
    GOOD = "\x1b[32m"
    BAD = "\x1b[31m"
    BUSY = "\x1b[36m"
    IDLE = "\x1b[33m"


@dataclass(frozen=True)
class Cell:
    """A cell of a table; an empty one is shown as a dash, so that awk can count columns."""

    text: str
    style: Style = Style.NONE

    def __str__(self) -> str:
        return self.text or "-"


Row = Sequence[str | Cell]


def paint(text: str, style: Style, *, colours: bool) -> str:
    """Return text in the colour of its style, safe to show (`make_safe`)."""
    text = make_safe(text)
    return _painted(text, style) if colours else text


def _painted(text: str, style: Style) -> str:
    return text if style is Style.NONE else f"{style.value}{text}{_RESET}"


class Table:
    """Lays out rows; later rows keep the columns of earlier ones as far as they fit.

    Args:
        headers: Names of the columns.
        colours: Whether to use colours.
    """

    def __init__(self, headers: Sequence[str], *, colours: bool = False) -> None:
        self._headers = [_text(header) for header in headers]
        self._colours = colours
        self._widths = [len(header) for header in self._headers]

    def lines(self, rows: Sequence[Row], *, header: bool = True) -> list[str]:
        """Return the rows as lines.

        Args:
            rows: Cells by row.
            header: Whether the names of the columns come first.
        """
        texts = [[_text(cell) for cell in row] for row in rows]
        columns = zip(self._widths, *texts, strict=True)
        self._widths = [max([width, *map(len, column)]) for width, *column in columns]
        lines = [self._line(shown, row) for shown, row in zip(texts, rows, strict=True)]
        return [self._line(self._headers, self._headers), *lines] if header else lines

    def _line(self, texts: Sequence[str], row: Row) -> str:
        cells = [text.ljust(width) for text, width in zip(texts, self._widths, strict=True)]
        if self._colours:
            cells = [
                _painted(text, cell.style) + padded[len(text) :]
                if isinstance(cell, Cell)
                else padded
                for text, padded, cell in zip(texts, cells, row, strict=True)
            ]
        return _GAP.join(cells).rstrip()


def _text(cell: str | Cell) -> str:
    return make_safe(str(cell)) or "-"


def cell_width(cell: str | Cell) -> int:
    """Return the letters that a cell takes."""
    return len(_text(cell))


def line_width(widths: Iterable[int]) -> int:
    """Return the letters that a row takes whose columns are that wide."""
    columns = list(widths)
    return sum(columns) + len(_GAP) * max(0, len(columns) - 1)
