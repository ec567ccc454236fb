"""Points in time as Kubernetes writes them: RFC 3339, UTC, whole seconds."""

from __future__ import annotations

from datetime import UTC, datetime

__all__ = ["format_time", "parse_time", "whole"]


def parse_time(text: str | None) -> datetime | None:
    """Return the time that a field holds; None for a field without one."""
    if not text:
        return None
    return datetime.fromisoformat(text).astimezone(UTC)


def format_time(moment: datetime, *, micro: bool = False) -> str:
    """Return a time as metav1.Time, or as metav1.MicroTime."""
    pattern = "%Y-%m-%dT%H:%M:%S.%fZ" if micro else "%Y-%m-%dT%H:%M:%SZ"
    return moment.astimezone(UTC).strftime(pattern)


def whole(moment: datetime) -> datetime:
    """Cut a time to whole seconds, as it will be read back from the API server."""
    return moment.astimezone(UTC).replace(microsecond=0)
