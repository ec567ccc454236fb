"""Latest progress of each job, in memory: progress is a courtesy, the artifacts are the record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from mmrlhf_api import Reporter
from mmrlhf_api.plain_text import make_safe
from mmrlhf_api.progress import FIGURES, MAX_FIGURE, STEP, EventName, is_number
from mmrlhf_operator.state.store import Key
from mmrlhf_operator.state.views import ProgressReport

__all__ = ["ProgressBoard", "merge"]

_COUNTS = tuple(figure.name for figure in FIGURES if figure.type is int)
_RATES = frozenset(figure.name for figure in FIGURES if figure.rate)
_MAX_METRICS = 128


def merge(
    before: ProgressReport | None,
    events: Sequence[Mapping[str, Any]],
    *,
    attempt: int,
    at: datetime,
) -> ProgressReport:
    """Return the progress after some events of `mmrlhf_api.progress`, oldest first.

    Unknown events and fields of unknown types are passed over: the job may be newer than this.
    """
    if before is None or before.attempt != attempt:
        before = ProgressReport(attempt=attempt, at=at, advanced_at=at)
    report = replace(before, at=at)
    for event in events:
        kind = event.get("event")
        if kind == EventName.STEP:
            step = STEP.read(event.get(STEP.name))
            if step is None:
                continue
            figures = _figures(event)
            moved = step != report.step or any(
                figures.get(name) != report.figures.get(name) for name in _COUNTS
            )
            report = replace(
                report,
                step=int(step),
                figures=figures,
                advanced_at=at if moved else report.advanced_at,
            )
        elif kind == EventName.PHASE:
            stage = _stage(event.get("phase"))
            if stage != report.stage:
                # How fast the last stage went says nothing of the next one.
                kept = {name: n for name, n in report.figures.items() if name not in _RATES}
                report = replace(report, stage=stage, figures=kept)
            report = replace(report, advanced_at=at)
        elif kind == EventName.DONE:
            report = replace(report, advanced_at=at, metrics=_metrics(event.get("metrics")))
    return report


class ProgressBoard:
    """Holds the latest progress of each job.

    Args:
        listening_since: Since when progress can arrive; None when it cannot.
    """

    def __init__(self, *, listening_since: datetime | None = None) -> None:
        self.listening_since = listening_since
        self._reports: dict[Key, tuple[str, ProgressReport]] = {}
        self._reporters: dict[Key, tuple[str, Reporter]] = {}

    def recognise(self, key: Key, uid: str, reporter: Reporter | None) -> None:
        """Note which pod of the job of that UID may report."""
        if reporter is not None:
            self._reporters[key] = (uid, reporter)

    def reporter(self, key: Key, uid: str) -> Reporter | None:
        """Return which pod of the job of that UID may report; None while nobody knows."""
        known = self._reporters.get(key)
        return known[1] if known is not None and known[0] == uid else None

    def post(
        self,
        key: Key,
        uid: str,
        *,
        attempt: int,
        events: Sequence[Mapping[str, Any]],
        at: datetime,
    ) -> None:
        """Take in events of a job."""
        self._reports[key] = (
            uid,
            merge(self.latest(key, uid), events, attempt=attempt, at=at),
        )

    def latest(self, key: Key, uid: str) -> ProgressReport | None:
        """Return the latest progress of the job of that UID."""
        kept = self._reports.get(key)
        return kept[1] if kept is not None and kept[0] == uid else None

    def forget(self, key: Key) -> None:
        """Drop what is kept of a job."""
        self._reports.pop(key, None)
        self._reporters.pop(key, None)


def _figures(event: Mapping[str, Any]) -> dict[str, float | int | None]:
    """Numbers of a step, with six digits: kubectl shows them, and metrics.jsonl has the rest."""
    found: dict[str, float | int | None] = {}
    for figure in FIGURES:
        value = figure.read(event.get(figure.name))
        if figure is not STEP and value is not None:
            found[figure.name] = value if figure.type is int else float(f"{value:.6g}")
    return found


def _stage(value: object) -> str | None:
    return make_safe(value[:256])[:256] if isinstance(value, str) and value else None


def _metrics(value: object) -> dict[str, float]:
    if not isinstance(value, Mapping):
        return {}
    first = [(name, figure) for name, figure in value.items() if name][:_MAX_METRICS]
    return {
        make_safe(str(name)[:256])[:256]: float(figure)
        for name, figure in first
        if is_number(figure) and abs(figure) <= MAX_FIGURE
    }
