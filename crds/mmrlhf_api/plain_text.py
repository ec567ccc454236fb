"""Text of others made safe to show: what steers a terminal or turns a line around stays visible.

Names and messages come from data, models, pods and clusters. A terminal obeys the control
characters in them (ECMA-48: C0, C1, and sequences that begin with ESC), a line of a table ends at a
line break, and bidirectional overrides show other words than are there (Unicode TR 36). Each such
character is written as the escape that Python knows; everything else stays as it is.
"""

from __future__ import annotations

from html import escape
from typing import Final

__all__ = ["make_html", "make_safe"]

_NAMED: Final = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}
_STEERING: Final = (
    *range(0x20),
    *range(0x7F, 0xA0),
    0x2028,  # line and paragraph separator
    0x2029,
    *range(0x202A, 0x202F),  # embeddings and overrides of direction
    *range(0x2066, 0x206A),  # isolates
    *range(0xD800, 0xE000),  # lone surrogates, which no UTF-8 holds
)
_CELL: Final = {
    code: _NAMED.get(chr(code), f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")
    for code in _STEERING
}
_LINES: Final = {code: text for code, text in _CELL.items() if chr(code) not in "\t\n"}


def make_safe(text: str, *, lines: bool = False) -> str:
    r"""Return a text whose control characters, overrides of direction and surrogates are escapes.

    Args:
        text: What someone else wrote.
        lines: Whether it may have several lines: line breaks and tabs stay as they are. Without, it
            is one cell or one line, and they become ``\n`` and ``\t``.
    """
    return text if text.isprintable() else text.translate(_LINES if lines else _CELL)


def make_html(text: str) -> str:
    """Return a text as content of an HTML or SVG element or attribute; see `make_safe`."""
    return escape(make_safe(text))
