"""Latest progress of each job, in memory: progress is a courtesy, the artifacts are the record."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from mmrlhf_operator.state.store import Key
from mmrlhf_operator.state.views import ProgressReport

__all__ = ["FIGURES", "ProgressBoard", "merge"]

_COUNTS = ("totalSteps", "rowsRead", "mediaEmbedded", "rowsSelected")
_RATES = ("tokensPerSecond", "itemsPerSecond", "etaSeconds")
FIGURES = (*_COUNTS, "loss", "margin", "accuracy", *_RATES)
"""Fields of a step event that go into the status, numbers with six digits: kubectl shows what is
there, and metrics.jsonl has the rest."""
_MAX_METRICS = 128
_MAX_STEP = 2**53


def merge(
    before: ProgressReport | None,
    events: Sequence[Mapping[str, Any]],
    *,
    attempt: int,
    at: datetime,
) -> ProgressReport:
    """Return the progress after some events of `mmrlhf_jobs.reporting.progress`, oldest first.

    Unknown events and fields of unknown types are passed over: the job may be newer than this.
    """
    if before is None or before.attempt != attempt:
        before = ProgressReport(attempt=attempt, at=at, advanced_at=at)
    report = replace(before, at=at)
    for event in events:
        kind = event.get("event")
        if kind == "step":
            step = event.get("step")
            if not isinstance(step, int) or isinstance(step, bool) or not 0 <= step <= _MAX_STEP:
                continue
            figures = _figures(event)
            moved = step != report.step or any(
                figures.get(name) != report.figures.get(name) for name in _COUNTS
            )
            report = replace(
                report,
                step=step,
                figures=figures,
                advanced_at=at if moved else report.advanced_at,
            )
        elif kind == "phase":
            stage = _stage(event.get("phase"))
            if stage != report.stage:
                # How fast the last stage went says nothing of the next one.
                kept = {name: n for name, n in report.figures.items() if name not in _RATES}
                report = replace(report, stage=stage, figures=kept)
            report = replace(report, advanced_at=at)
        elif kind == "done":
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


def _figures(event: Mapping[str, Any]) -> dict[str, float | int | None]:
    found: dict[str, float | int | None] = {}
    for name in FIGURES:
        value: Any = event.get(name)
        if not _is_number(value):
            continue
        if name in _COUNTS:
            if isinstance(value, int) and 0 <= value <= _MAX_STEP:
                found[name] = value
        else:
            found[name] = float(f"{value:.6g}")
    return found


def _stage(value: object) -> str | None:
    return value[:256] if isinstance(value, str) and value else None


def _metrics(value: object) -> dict[str, float]:
    if not isinstance(value, Mapping):
        return {}
    named = ((str(name)[:256], figure) for name, figure in value.items() if name)
    first = list(named)[:_MAX_METRICS]
    return {name: float(figure) for name, figure in first if _is_number(figure)}


def _is_number(value: Any) -> bool:  # noqa: ANN401 - JSON
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
