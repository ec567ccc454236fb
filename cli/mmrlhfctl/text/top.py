"""What runs now and what waits, largest first; pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from mmrlhf.client.times import parse_time
from mmrlhf.client.views import JobView
from mmrlhf_api.constants import Phase
from mmrlhf_api.progress import ETA, ITEMS_DONE, ITEMS_TOTAL, TOKENS_PER_SECOND
from mmrlhfctl.durations import format_age, format_span
from mmrlhfctl.text.jobs import phase_style, shown_phase, step_text
from mmrlhfctl.text.table import Cell

__all__ = ["HEADERS", "gpus_of", "holds_pods", "row", "totals", "worth_showing"]

HEADERS: Final = ("KIND", "NAME", "PHASE", "GPUS", "DONE", "TOKENS/S", "RUNS", "WAITS", "LEFT")
"""Columns of `row`."""


def worth_showing(jobs: Sequence[JobView]) -> list[JobView]:
    """Return the jobs that have not ended: those that run, that wait, that are suspended.

    The largest of each come first.
    """

    def place(job: JobView) -> tuple[int, int, str]:
        turn = 0 if holds_pods(job) else 2 if job.phase == Phase.SUSPENDED else 1
        return turn, -gpus_of(job), job.argument

    return sorted((job for job in jobs if not job.ended), key=place)


def gpus_of(job: JobView) -> int:
    """Return how many GPUs a job asks for."""
    each = (job.spec.get("resources") or {}).get("gpusPerNode")
    return job.nodes * each if isinstance(each, int) else 0


def holds_pods(job: JobView) -> bool:
    """Return whether all its pods run, by its phase."""
    return job.phase == Phase.RUNNING


def row(job: JobView, now: datetime, *, namespace: bool) -> list[str | Cell]:
    """Return the cells of a job."""
    progress, running = job.progress, holds_pods(job)
    speed, left = (one.read(progress.get(one.name)) for one in (TOKENS_PER_SECOND, ETA))
    since = parse_time(job.conditions.get("Running", {}).get("lastTransitionTime"))
    waiting = parse_time(job.status.get("pendingSince")) or job.created
    return [
        *([job.namespace] if namespace else []),
        job.kind.short_name,
        job.name,
        Cell(shown_phase(job), phase_style(job)),
        str(gpus_of(job)),
        _done(job),
        f"{speed:.0f}" if running and speed is not None else "",
        format_age(since, now) if running else "",
        "" if running or job.phase == Phase.SUSPENDED else format_age(waiting, now),
        format_span(left) if running and left is not None else "",
    ]


def totals(jobs: Sequence[JobView]) -> str:
    """Return how many GPUs run and wait, in a sentence."""
    running = [job for job in jobs if holds_pods(job)]
    waiting = [job for job in jobs if not holds_pods(job) and job.phase != Phase.SUSPENDED]
    return (
        f"{_count(len(running), 'job')} with {_count(sum(map(gpus_of, running)), 'GPU')} run,"
        f" {_count(len(waiting), 'job')} with {_count(sum(map(gpus_of, waiting)), 'GPU')} wait"
    )


def _done(job: JobView) -> str:
    if text := step_text(job.progress):
        return text
    done, total = job.progress.get(ITEMS_DONE.name), job.progress.get(ITEMS_TOTAL.name)
    if done is None:
        return ""
    return f"{done}" if total is None else f"{done}/{total}"


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
