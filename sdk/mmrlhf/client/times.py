"""Times as the API server and the kubelet write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime

__all__ = ["parse_time"]


def parse_time(text: object) -> datetime | None:
    """Return the time that the API server wrote; None when there is none that is understood."""
    if not isinstance(text, str):
        return None
    try:
        # Nanoseconds, as the kubelet writes them, are more than datetime takes.
        moment = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
