"""Spans of time, as users write and read them."""

from __future__ import annotations

import re
from datetime import datetime

__all__ = ["format_age", "format_span", "parse_span"]

_SPAN = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?")
_PLAIN = re.compile(r"\d+(?:\.\d+)?")
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def parse_span(text: str) -> float:
    """Return the seconds of ``90``, ``90s``, ``5m``, ``1h30m`` or the like.

    Raises:
        ValueError: The text is none of these.
    """
    if _PLAIN.fullmatch(text):
        return float(text)
    match = _SPAN.fullmatch(text)
    if match is None or not text:
        raise ValueError(f"{text!r} is no duration, such as 90s, 5m or 1h30m")
    hours, minutes, seconds = match.groups()
    return _HOUR * int(hours or 0) + _MINUTE * int(minutes or 0) + float(seconds or 0)


def format_span(seconds: float) -> str:  # noqa: PLR0911 - a table
    """Return a span in at most two units, as kubectl does: 90s, 5m30s, 3h12m, 12d."""
    whole = max(0, round(seconds))
    minutes, hours, days = whole // _MINUTE, whole // _HOUR, whole // _DAY
    if whole < 2 * _MINUTE:
        return f"{whole}s"
    if minutes < 10:
        return _two(minutes, "m", whole % _MINUTE, "s")
    if hours < 3:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return _two(days, "d", hours % 24, "h")
    return f"{days}d" if days < 2 * 365 else _two(days // 365, "y", days % 365, "d")


def format_age(moment: datetime | None, now: datetime) -> str:
    """Return the time since ``moment``; a dash when it is unknown."""
    return "-" if moment is None else format_span((now - moment).total_seconds())


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}{small}{small_unit}" if small else f"{large}{large_unit}"
