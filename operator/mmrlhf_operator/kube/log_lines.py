"""Lines of the operator's log, in which words of tenants and of servers steer no terminal.

There are two ways to write them: for people, and as JSON for machines that collect them. Neither
writes anything of a record but its message and, after an error, its traceback: what libraries hang
on records besides, such as requests with their headers, goes nowhere.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any

from mmrlhf_api.plain_text import make_safe

__all__ = ["JsonLines", "SafeLines"]


class SafeLines(logging.Formatter):
    """Writes each record on one line, and a traceback below it; see `make_safe`."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Return the line of a record."""
        return make_safe(super().formatMessage(record))

    def format(self, record: logging.LogRecord) -> str:
        """Return a record, with its traceback if it has one."""
        return make_safe(super().format(record), lines=True)


class JsonLines(logging.Formatter):
    """Writes each record as a JSON object on one line.

    Its fields: ``time`` (RFC 3339, UTC), ``level``, ``logger``, ``message``, ``job`` with ``kind``,
    ``namespace`` and ``name`` where the message is about one, and ``error`` with the traceback.

    Args:
        key: Type of the arguments of messages that name a job; a named tuple.
    """

    def __init__(self, key: type[Any]) -> None:
        super().__init__()
        self._key = key

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as JSON."""
        moment = datetime.fromtimestamp(record.created, UTC)
        fields: dict[str, Any] = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": make_safe(record.getMessage()),
        }
        named = record.args if isinstance(record.args, tuple) else ()
        job = next((one for one in named if isinstance(one, self._key)), None)
        if job is not None:
            fields["job"] = {name: make_safe(value) for name, value in job._asdict().items()}
        if record.exc_info:
            fields["error"] = make_safe(self.formatException(record.exc_info), lines=True)
        return json.dumps(fields)
