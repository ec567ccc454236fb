"""Lists of jobs, as text and as data; pure functions of the objects and the time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from mmrlhf_api.constants import Phase
from mmrlhf_api.kinds import Kind
from mmrlhfctl.client.views import JobView
from mmrlhfctl.durations import format_age, format_span
from mmrlhfctl.text.table import Cell, Style

__all__ = ["job_headers", "job_row", "phase_style", "shown_phase", "step_text", "without_noise"]

_STYLES: Mapping[str, Style] = {
    Phase.RUNNING: Style.BUSY,
    Phase.SUCCEEDED: Style.GOOD,
    Phase.FAILED: Style.BAD,
    Phase.RESTARTING: Style.IDLE,
    Phase.SUSPENDED: Style.IDLE,
    Phase.PENDING: Style.IDLE,
}


def job_headers(kinds: Iterable[Kind], *, namespaces: bool, wide: bool) -> list[str]:
    """Return the columns of a list; they depend on what was asked for, not on what is in it.

    Args:
        kinds: Kinds that are listed.
        namespaces: Whether jobs of several namespaces are listed.
        wide: Whether to show more.
    """
    headers = ["KIND", "NAME", "PHASE", "READY", "ATTEMPT", *_figures(kinds), "AGE"]
    if wide:
        headers += ["REASON", "LOSS", "ETA", "QUEUE", "NODEPOOL"]
    return ["NAMESPACE", *headers] if namespaces else headers


def job_row(
    job: JobView, now: datetime, kinds: Iterable[Kind], *, namespaces: bool, wide: bool
) -> list[str | Cell]:
    """Return the row of a job; see `job_headers`."""
    progress: Mapping[str, Any] = job.status.get("progress") or {}
    phase = shown_phase(job)
    row: list[str | Cell] = [
        job.kind.short_name,
        job.name,
        Cell(phase, phase_style(job)),
        str((job.status.get("pods") or {}).get("summary") or ""),
        str(job.attempt) if job.phase else "",
        *(figure(job) for figure in _figures(kinds).values()),
        format_age(job.created, now),
    ]
    if wide:
        eta = progress.get("etaSeconds")
        row += [
            job.reason,
            _number(progress.get("loss")),
            "" if eta is None or job.ended else format_span(eta),
            str((job.spec.get("scheduling") or {}).get("queue") or ""),
            str(job.spec.get("nodePool") or ""),
        ]
    return [job.namespace, *row] if namespaces else row


def shown_phase(job: JobView) -> str:
    """Return the phase for people; a job that is being deleted says so."""
    return "Deleting" if job.deleting else job.phase


def phase_style(job: JobView) -> Style:
    """Return the colour of a job's phase."""
    return Style.NONE if job.deleting else _STYLES.get(job.phase, Style.NONE)


def step_text(progress: Mapping[str, Any]) -> str:
    """Return the step and, where it is known, how many there are."""
    if progress.get("step") is None:
        return ""
    total = progress.get("totalSteps")
    return f"{progress['step']}" if total is None else f"{progress['step']}/{total}"


def without_noise(bodies: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return objects without managedFields, which only machines read."""
    return [
        {
            **body,
            "metadata": {k: v for k, v in body["metadata"].items() if k != "managedFields"},
        }
        for body in bodies
    ]


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else ""


def _shown(name: str, text: Callable[[object], str]) -> Callable[[JobView], str]:
    return lambda job: text((job.status.get("progress") or {}).get(name))


def _count(value: object) -> str:
    return str(value) if isinstance(value, int) else ""


_TRAINING: Mapping[str, Callable[[JobView], str]] = {
    # Parts of a sampling's stages are no steps that tell anything.
    "STEP": lambda job: step_text(job.status.get("progress") or {}) if job.kind.figure else "",
    "MARGIN": _shown("margin", _number),
    "ACCURACY": _shown("accuracy", _number),
}
_SAMPLING: Mapping[str, Callable[[JobView], str]] = {
    "STAGE": _shown("stage", lambda value: str(value or "")),
    "READ": _shown("rowsRead", _count),
    "EMBEDDED": _shown("mediaEmbedded", _count),
    "SELECTED": _shown("rowsSelected", _count),
}


def _figures(kinds: Iterable[Kind]) -> Mapping[str, Callable[[JobView], str]]:
    """Figures that kinds have, by header; of several sorts those that tell most."""
    training = {bool(kind.figure) for kind in kinds}
    if len(training) > 1:
        return {**_TRAINING, **{name: _SAMPLING[name] for name in ("READ", "SELECTED")}}
    return _TRAINING if True in training else _SAMPLING
