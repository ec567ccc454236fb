"""A sweep as text: where it stands, the best setting, and a table of its points."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from mmrlhf.client.times import parse_time
from mmrlhf_api.sweeps.phases import PointPhase
from mmrlhfctl.durations import format_age
from mmrlhfctl.text.table import Cell, Style, Table, paint

__all__ = ["sweep_lines"]

Body = Mapping[str, Any]

_STYLES: Mapping[str, Style] = {
    PointPhase.STARTING: Style.BUSY,
    PointPhase.RUNNING: Style.BUSY,
    PointPhase.SUCCEEDED: Style.GOOD,
    PointPhase.FAILED: Style.BAD,
    PointPhase.STOPPED: Style.IDLE,
    PointPhase.SKIPPED: Style.IDLE,
    "Suspended": Style.IDLE,
}
_TOLD = frozenset({PointPhase.FAILED, PointPhase.STOPPED, PointPhase.SKIPPED})


def sweep_lines(body: Body, now: datetime, *, colours: bool) -> list[str]:
    """Return what there is to say of a sweep; points by their figure come in its own order."""
    status, spec = body.get("status") or {}, body.get("spec") or {}
    metadata, phase = body["metadata"], status.get("phase") or "Pending"
    name = f"{metadata.get('namespace', 'default')}/{metadata['name']}"
    lines = [
        f"Sweep {name}: "
        + paint(phase, _STYLES.get(phase, Style.NONE), colours=colours)
        + (f" ({status['reason']})" if status.get("reason") else "")
    ]
    if status.get("message"):
        lines.append(paint(status["message"], Style.NONE, colours=colours))
    best = status.get("best") or {}
    metric = str((spec.get("objective") or {}).get("metric", ""))
    if best:
        lines.append(paint(f"best so far: {_best(best)}", Style.GOOD, colours=colours))
    points = status.get("points") or ()
    table = Table(("POINT", "PHASE", metric.upper(), "TIME", "VALUES", "WHY"), colours=colours)
    rows = [_row(one, now, is_best=one["name"] in best.get("points", ())) for one in points]
    return [*lines, "", *table.lines(rows)] if points else lines


def _best(best: Body) -> str:
    spread = best.get("spread")
    of = "" if spread is None else f" ± {spread:.2g} over {len(best['points'])} points"
    return f"{best['value']:.6g}{of}: {best['values'] or 'as the template'}"


def _row(one: Body, now: datetime, *, is_best: bool) -> list[str | Cell]:
    phase, value = one["phase"], one.get("value")
    start, end = parse_time(one.get("startTime")), parse_time(one.get("endTime")) or now
    why = str(one.get("message") or "") if phase in _TOLD else ""
    return [
        one["name"],
        Cell(phase, _STYLES.get(phase, Style.NONE)),
        Cell("" if value is None else f"{value:.6g}", Style.GOOD if is_best else Style.NONE),
        "" if start is None else format_age(start, end),
        one["values"],
        why,
    ]
