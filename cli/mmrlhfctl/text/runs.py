"""Runs of pipelines as text: a list, and the steps of one as a tree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from mmrlhf.client.times import parse_time
from mmrlhf_api.pipelines.graph import named_steps
from mmrlhf_api.pipelines.phases import StepPhase
from mmrlhfctl.durations import format_age
from mmrlhfctl.text.table import Cell, Style, paint

__all__ = ["HEADERS", "pipeline_lines", "row", "run_lines"]

Body = Mapping[str, Any]

HEADERS = ("KIND", "NAME", "PHASE", "STEPS", "RUNNING", "AGE")
"""Columns of `row`."""
_MARKS: Mapping[str, tuple[str, Style]] = {
    StepPhase.WAITING: ("·", Style.IDLE),
    StepPhase.STARTING: ("▸", Style.BUSY),
    StepPhase.RUNNING: ("▸", Style.BUSY),
    StepPhase.SUCCEEDED: ("✓", Style.GOOD),
    StepPhase.FAILED: ("✗", Style.BAD),
    StepPhase.SKIPPED: ("-", Style.IDLE),
}
_STYLES: Mapping[str, Style] = {
    "Succeeded": Style.GOOD,
    "Failed": Style.BAD,
    "Running": Style.BUSY,
    "Suspended": Style.IDLE,
    "Ready": Style.GOOD,
    "NotReady": Style.BAD,
}


def row(body: Body, now: datetime) -> list[str | Cell]:
    """Return the cells of a run or a pipeline in a list; see `HEADERS`."""
    status = body.get("status") or {}
    phase = status.get("phase") or _readiness(status)
    created = parse_time(body["metadata"].get("creationTimestamp"))
    return [
        body["kind"],
        body["metadata"]["name"],
        Cell(phase, _STYLES.get(phase, Style.NONE)),
        status.get("summary") or "",
        status.get("running") or "",
        format_age(created, now),
    ]


def run_lines(body: Body, now: datetime, *, colours: bool) -> list[str]:
    """Return what there is to say of a run, its steps as a tree.

    A step stands below the last one that it waits for; others that it waits for are named.
    """
    status, spec = body.get("status") or {}, body.get("spec") or {}
    phase = status.get("phase") or "Pending"
    lines = [
        f"{body['kind']} {body['metadata']['namespace']}/{body['metadata']['name']}: "
        + paint(phase, _STYLES.get(phase, Style.NONE), colours=colours)
        + (f" ({status['reason']})" if status.get("reason") else "")
    ]
    if status.get("message"):
        lines.append(paint(status["message"], Style.NONE, colours=colours))
    if spec.get("pipeline"):
        lines.append(f"pipeline: {spec['pipeline']}")
    states = {one["name"]: one for one in status.get("steps") or ()}
    return [*lines, "", *_tree(spec.get("steps") or (), states, now, colours=colours)]


def pipeline_lines(body: Body, *, colours: bool) -> list[str]:
    """Return what there is to say of a pipeline: whether runs can be made of it, and of what."""
    status = body.get("status") or {}
    phase = _readiness(status)
    told = _condition(status, "Ready")
    name = f"{body['metadata']['namespace']}/{body['metadata']['name']}"
    lines = [
        f"{body['kind']} {name}: "
        + paint(phase or "Pending", _STYLES.get(phase, Style.NONE), colours=colours)
    ]
    if told.get("message"):
        lines.append(paint(told["message"], Style.NONE, colours=colours))
    steps = (body.get("spec") or {}).get("steps") or ()
    return [*lines, "", *_tree(steps, {}, None, colours=colours)]


def _readiness(status: Body) -> str:
    ready = _condition(status, "Ready").get("status")
    return {"True": "Ready", "False": "NotReady"}.get(ready or "", "")


def _condition(status: Body, kind: str) -> Body:
    found = (one for one in status.get("conditions") or () if one["type"] == kind)
    return next(found, {})


def _tree(
    steps: Sequence[Body], states: Mapping[str, Body], now: datetime | None, *, colours: bool
) -> list[str]:
    waits = {one["name"]: _parents(one, steps) for one in steps}
    below: dict[str | None, list[Body]] = {}
    for one in steps:
        above = waits[one["name"]]
        below.setdefault(above[-1] if above else None, []).append(one)
    lines: list[str] = []
    shown: set[str] = set()

    def visit(name: str | None, indent: str) -> None:
        found = below.get(name, [])
        for position, one in enumerate(found):
            if one["name"] in shown:
                continue
            shown.add(one["name"])
            last = position == len(found) - 1
            branch = "" if name is None else ("└─ " if last else "├─ ")
            further = "" if name is None else ("   " if last else "│  ")
            others = waits[one["name"]][:-1]
            text = _step(one, states.get(one["name"], {}), others, now, colours=colours)
            lines.append(f"{indent}{branch}{text}")
            visit(one["name"], indent + further)

    visit(None, "")
    return lines


def _parents(step: Body, steps: Sequence[Body]) -> list[str]:
    """Steps that one waits for, in the order in which they stand."""
    known = [one["name"] for one in steps]
    named = named_steps(step.get("spec") or {}, step.get("needs") or ())
    return sorted((name for name in named if name in known), key=known.index)


def _step(
    step: Body, state: Body, others: Iterable[str], now: datetime | None, *, colours: bool
) -> str:
    phase = state.get("phase") or ""
    mark, style = _MARKS.get(phase, ("·", Style.IDLE))
    parts = [paint(f"{mark} {step['name']}", style, colours=colours), step["kind"]]
    if phase:
        parts.append(phase)
    if cached := state.get("cachedFrom"):
        parts.append(f"from run {cached['run']}")
    elif state.get("job"):
        parts.append(str(state["job"]))
    span = _span(state, now)
    if span:
        parts.append(span)
    if listed := ", ".join(others):
        parts.append(f"also after {listed}")
    if phase in {StepPhase.FAILED, StepPhase.SKIPPED} or state.get("reason") == "NameConflict":
        told = f"{state.get('reason')}: {state.get('message')}"
        parts.append(paint(told, Style.NONE, colours=colours))
    return "  ".join(parts)


def _span(state: Body, now: datetime | None) -> str:
    start, end = parse_time(state.get("startTime")), parse_time(state.get("endTime")) or now
    if start is None or end is None or state.get("cachedFrom"):
        return ""
    return format_age(start, end)
