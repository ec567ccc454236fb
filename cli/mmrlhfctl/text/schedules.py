"""Pipelines and their schedules as rows; pure functions of the objects and the time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from mmrlhfctl.durations import format_age, format_span
from mmrlhfctl.text.table import Cell, Style

__all__ = ["schedule_headers", "schedule_row"]


def schedule_headers(*, namespaces: bool) -> list[str]:
    """Return the columns of a list of pipelines."""
    columns = ["NAME", "SCHEDULE", "STATE", "NEXT", "LAST RUN", "AGE", "ACTIVE", "WHY"]
    return ["NAMESPACE", *columns] if namespaces else columns


def schedule_row(body: Mapping[str, Any], now: datetime, *, namespaces: bool) -> list[str | Cell]:
    """Return the row of a pipeline as the API server has it; see `schedule_headers`."""
    metadata, spec = body["metadata"], body.get("spec") or {}
    status = (body.get("status") or {}).get("schedule") or {}
    last = status.get("lastRun") or {}
    state, style, why = _state(body)
    row: list[str | Cell] = [
        metadata["name"],
        _words(spec.get("schedule") or {}),
        Cell(state, style),
        _until(status.get("nextScheduleTime"), now),
        str(last.get("name") or ""),
        format_age(_time(last.get("time")), now) if last else "",
        str(len(status.get("active") or ())),
        why,
    ]
    return [metadata["namespace"], *row] if namespaces else row


def _words(schedule: Mapping[str, Any]) -> str:
    """When runs start, in few words."""
    parts = []
    if schedule.get("cron"):
        zone = schedule.get("timeZone")
        parts.append(f"{schedule['cron']}{f' {zone}' if zone else ''}")
    triggers = schedule.get("triggers") or {}
    if triggers.get("newData"):
        parts.append("new data")
    if triggers.get("newRankings"):
        parts.append(f"{triggers['newRankings'].get('atLeast')} new rankings")
    return ", ".join(parts) or "by hand"


def _state(body: Mapping[str, Any]) -> tuple[str, Style, str]:
    if (body.get("spec") or {}).get("suspend") is True:
        return "Suspended", Style.IDLE, ""
    conditions = {one["type"]: one for one in (body.get("status") or {}).get("conditions") or ()}
    stalled = conditions.get("Stalled") or {}
    if stalled.get("status") == "True":
        return stalled["reason"], Style.BAD, stalled.get("message", "")
    waits = conditions.get("OnSchedule") or {}
    if waits.get("status") == "False":
        return waits["reason"], Style.IDLE, waits.get("message", "")
    return "Waiting", Style.NONE, ""


def _until(text: str | None, now: datetime) -> str:
    moment = _time(text)
    if moment is None:
        return ""
    seconds = (moment - now).total_seconds()
    return f"in {format_span(seconds)}" if seconds >= 0 else "now"


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
