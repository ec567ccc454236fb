"""Kubernetes events of jobs and their pods; pure functions of the objects and the time."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from mmrlhf.client.times import parse_time
from mmrlhf.client.views import JobView
from mmrlhf_api.constants import API_VERSION
from mmrlhf_api.kinds import KINDS
from mmrlhfctl.durations import format_age
from mmrlhfctl.text.table import Cell, Row, Style

__all__ = ["EVENT_HEADERS", "concerns", "event_row", "event_time", "in_order"]

EVENT_HEADERS = ["LAST", "TYPE", "REASON", "OBJECT", "MESSAGE"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def event_time(event: Mapping[str, Any]) -> datetime | None:
    """Return when an event last happened."""
    series = event.get("series") or {}
    for text in (
        series.get("lastObservedTime"),
        event.get("lastTimestamp"),
        event.get("eventTime"),
        event.get("firstTimestamp"),
        event["metadata"].get("creationTimestamp"),
    ):
        moment = parse_time(text)
        if moment is not None:
            return moment
    return None


def event_row(event: Mapping[str, Any], now: datetime) -> Row:
    """Return the row of an event; see `EVENT_HEADERS`."""
    involved = event.get("involvedObject") or {}
    count = (event.get("series") or {}).get("count") or event.get("count") or 1
    kind = str(involved.get("kind", ""))
    name = KINDS[kind].short_name if kind in KINDS else kind.lower()
    style = Style.BAD if event.get("type") == "Warning" else Style.NONE
    message = " ".join(str(event.get("message") or "").split())
    return (
        format_age(event_time(event), now),
        Cell(str(event.get("type") or ""), style),
        str(event.get("reason") or ""),
        f"{name}/{involved.get('name', '')}",
        f"{message} (x{count})" if count > 1 else message,
    )


def in_order(events: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return events by time, oldest first."""
    return sorted(events, key=lambda event: event_time(event) or _EPOCH)


def concerns(event: Mapping[str, Any], job: JobView) -> bool:
    """Whether an event is about a job or one of its pods, those that are gone included."""
    involved = event.get("involvedObject") or {}
    if involved.get("uid") == job.uid:
        return True
    if involved.get("apiVersion") == API_VERSION or involved.get("kind") != "Pod":
        return False
    if re.fullmatch(rf"{re.escape(job.name)}-\d+-\d+", str(involved.get("name"))) is None:
        return False
    moment = event_time(event)
    # An earlier job of the same name had pods of the same names.
    return moment is None or job.created is None or moment >= job.created
