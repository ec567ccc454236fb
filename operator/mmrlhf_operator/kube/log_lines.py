"""Lines of the operator's log, in which words of tenants and of servers steer no terminal."""

from __future__ import annotations

import logging

from mmrlhf_api.plain_text import make_safe

__all__ = ["SafeLines"]


class SafeLines(logging.Formatter):
    """Writes each record on one line, and a traceback below it; see `make_safe`."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Return the line of a record."""
        return make_safe(super().formatMessage(record))

    def format(self, record: logging.LogRecord) -> str:
        """Return a record, with its traceback if it has one."""
        return make_safe(super().format(record), lines=True)
