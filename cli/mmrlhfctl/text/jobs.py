"""Lists of jobs, as text and as data; pure functions of the objects and the time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from mmrlhf.client.views import JobView
from mmrlhf_api.constants import Phase
from mmrlhf_api.kinds import KINDS, Kind, SpecColumn, listed
from mmrlhf_api.progress import SECONDS, STEP, TOTAL_STEPS, Figure, is_number
from mmrlhfctl.durations import format_age, format_span
from mmrlhfctl.text.table import Cell, Style, cell_width, line_width

__all__ = [
    "JobColumns",
    "fitting",
    "phase_style",
    "shown_phase",
    "step_text",
    "without_noise",
]

_FIRST_TO_GO = (
    *("NODEPOOL", "QUEUE", "LOSS", "EMBEDDED", "READ", "SELECTED", "ATTEMPT", "ACCURACY", "ETA"),
    *("MARGIN", "STAGE", "STEP", "READY", "NAMESPACE"),
)
_STYLES: Mapping[str, Style] = {
    Phase.RUNNING: Style.BUSY,
    Phase.SUCCEEDED: Style.GOOD,
    Phase.FAILED: Style.BAD,
    Phase.RESTARTING: Style.IDLE,
    Phase.SUSPENDED: Style.IDLE,
    Phase.PENDING: Style.IDLE,
}


class JobColumns:
    """The columns of a list: the figures that jobs of its kinds have, and no others.

    Args:
        kinds: Kinds that are listed.
        namespaces: Whether jobs of several namespaces are listed.
        wide: Whether to show more.

    Attributes:
        headers: Their names.
    """

    def __init__(self, kinds: Iterable[Kind], *, namespaces: bool, wide: bool) -> None:
        kinds = tuple(kinds)
        self._namespaces = namespaces
        self._wide = wide
        self._narrow, self._more = listed(kinds)
        self._words = _words(kinds)
        narrow, more = (
            [figure.title.upper() for figure in part] for part in (self._narrow, self._more)
        )
        words = [column.title.upper() for column in self._words]
        headers = ["KIND", "NAME", "PHASE", "REASON", "READY", "ATTEMPT", *words, *narrow, "AGE"]
        if wide:
            headers += [*more, "QUEUE", "NODEPOOL"]
        self.headers: list[str] = ["NAMESPACE", *headers] if namespaces else headers

    def row(self, job: JobView, now: datetime) -> list[str | Cell]:
        """Return the cells of a job."""
        phase = shown_phase(job)
        row: list[str | Cell] = [
            job.kind.short_name,
            job.name,
            Cell(phase, phase_style(job)),
            job.reason,
            str((job.status.get("pods") or {}).get("summary") or ""),
            str(job.attempt) if job.phase else "",
            *(
                column.read(job.spec) if column in job.kind.spec_columns else ""
                for column in self._words
            ),
            *(_cell(job, figure) for figure in self._narrow),
            format_age(job.created, now),
        ]
        if self._wide:
            row += [
                *(_cell(job, figure) for figure in self._more),
                str((job.spec.get("scheduling") or {}).get("queue") or ""),
                str(job.spec.get("nodePool") or ""),
            ]
        return [job.namespace, *row] if self._namespaces else row


def fitting(headers: Sequence[str], rows: Iterable[Sequence[str | Cell]], width: int) -> list[int]:
    """Return the places of the columns that a terminal has room for.

    What tells least goes first; KIND, NAME, PHASE, REASON and AGE stay, however narrow it is.

    Args:
        headers: All columns.
        rows: All rows.
        width: Columns of letters that the terminal has.
    """
    widths = [max(map(cell_width, column)) for column in zip(headers, *rows, strict=True)]
    kept = list(range(len(headers)))
    for name in _FIRST_TO_GO:
        if line_width(widths[place] for place in kept) <= width:
            break
        kept = [place for place in kept if headers[place] != name]
    return kept


def shown_phase(job: JobView) -> str:
    """Return the phase for people; a job that is being deleted says so."""
    return "Deleting" if job.deleting else job.phase


def phase_style(job: JobView) -> Style:
    """Return the colour of a job's phase."""
    return Style.NONE if job.deleting else _STYLES.get(job.phase, Style.NONE)


def step_text(progress: Mapping[str, Any]) -> str:
    """Return the step and, where it is known, how many there are."""
    step, total = progress.get(STEP.name), progress.get(TOTAL_STEPS.name)
    if step is None:
        return ""
    return f"{step}" if total is None else f"{step}/{total}"


def without_noise(bodies: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return objects without managedFields, which only machines read."""
    return [
        {
            **body,
            "metadata": {k: v for k, v in body["metadata"].items() if k != "managedFields"},
        }
        for body in bodies
    ]


def _words(kinds: Iterable[Kind]) -> list[SpecColumn]:
    """Words of the spec that a list of jobs shows: those of its kind, where all are of one."""
    (only, *others) = dict.fromkeys(kind.name for kind in kinds) or ("",)
    return [*KINDS[only].spec_columns] if only in KINDS and not others else []


def _cell(job: JobView, figure: Figure) -> str:
    progress: Mapping[str, Any] = job.status.get("progress") or {}
    if figure is STEP:
        return step_text(progress) if STEP.of(job.kind.course) else ""
    value = progress.get(figure.name)
    if figure.type is str:
        return str(value or "")
    if not is_number(value) or (job.ended and figure.unit == SECONDS):
        return ""
    if figure.unit == SECONDS:
        return format_span(value)
    return str(value) if figure.type is int else f"{value:.4g}"
