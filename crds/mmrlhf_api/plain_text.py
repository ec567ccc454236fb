"""Text of others made safe to show: what steers, turns a line around or hides is made visible.

Names and messages come from data, models, pods and clusters. A terminal obeys the control
characters in them (ECMA-48: C0, C1, and sequences that begin with ESC), a line of a table ends at a
line break, bidirectional overrides show other words than are there (Unicode TR 36), and characters
without a width make two names that look alike differ, or carry words that nobody sees. Each such
character is written as the escape that Python knows; everything else stays as it is, also the
joiners of U+200C and U+200D, without which some scripts and emoji are not themselves.
"""

from __future__ import annotations

import functools
from typing import Final

__all__ = ["make_html", "make_safe"]

_NAMED: Final = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}
_UNSEEN: Final = (
    0x180E,  # Mongolian vowel separator
    0x200B,  # zero width space
    *range(0x2060, 0x2065),  # word joiner, invisible operators
    *range(0x206A, 0x2070),  # deprecated
    0xFEFF,  # zero width no-break space, byte order mark
    *range(0xFFF9, 0xFFFC),  # interlinear annotations
    0xE0001,
    *range(0xE0020, 0xE0080),  # tags, an ASCII that is not shown
)
_STEERING: Final = (
    *range(0x20),
    *range(0x7F, 0xA0),
    0x2028,  # line and paragraph separator
    0x2029,
    *range(0x202A, 0x202F),  # embeddings and overrides of direction
    *range(0x2066, 0x206A),  # isolates
    *range(0xD800, 0xE000),  # lone surrogates, which no UTF-8 holds
    *_UNSEEN,
)


def _escape(code: int) -> str:
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


@functools.cache
def _escapes(*, lines: bool) -> dict[int, str]:
    """Return what stands for each of these characters; made where a text has one."""
    cell = {code: _NAMED.get(chr(code), _escape(code)) for code in _STEERING}
    return {code: text for code, text in cell.items() if chr(code) not in "\t\n"} if lines else cell


def make_safe(text: str, *, lines: bool = False) -> str:
    r"""Return a text whose steering, overriding and invisible characters are escapes.

    Args:
        text: What someone else wrote.
        lines: Whether it may have several lines: line breaks and tabs stay as they are. Without, it
            is one cell or one line, and they become ``\n`` and ``\t``.
    """
    return text if text.isprintable() else text.translate(_escapes(lines=lines))


def make_html(text: str) -> str:
    """Return a text as content of an HTML or SVG element or attribute; see `make_safe`."""
    from html import escape  # its tables of names are for pages alone

    return escape(make_safe(text))
