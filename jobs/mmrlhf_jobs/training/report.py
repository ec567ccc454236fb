"""``report.html`` of a run: drawn by rank 0 at the end, and no reason for a run to fail."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from mmrlhf_jobs.pages.record import RunRecord, parse_rows
from mmrlhf_jobs.pages.run_report import Sample, render_failure, render_report
from mmrlhf_jobs.reporting.events import Tell

__all__ = ["draw_report", "or_without"]

T = TypeVar("T")

_LAST_WORD: Final = "<!doctype html><title>report</title><p>The report could not be drawn.</p>\n"


def draw_report(
    manifest: Mapping[str, Any],
    metrics: str,
    samples: Sequence[Sample],
    *,
    sample_tokens: int,
    tell: Tell,
) -> tuple[str, str | None]:
    """Draw the page; where that fails, a page that says so.

    Args:
        manifest: The record of the run.
        metrics: Text of ``metrics.jsonl``.
        samples: Queries with their answers.
        sample_tokens: Tokens after which answers were cut off.
        tell: Takes a sentence for whoever runs the job.

    Returns:
        The page, and why it has no report; None where it has.
    """
    try:
        run = RunRecord(manifest, parse_rows(metrics))
        return render_report(run, samples=samples, sample_tokens=sample_tokens), None
    except Exception as error:  # noqa: BLE001 - whatever it is, the run has succeeded
        why = f"{type(error).__name__}: {error}"
    tell(f"report.html could not be drawn: {why}; the run is whole without it")
    try:
        return render_failure(RunRecord(manifest, []), why), why
    except Exception:  # noqa: BLE001 - likewise
        return _LAST_WORD, why


def or_without(work: Callable[[], T], what: str, *, otherwise: T, tell: Tell) -> T:
    """Do what only the report needs; where it fails, say so and go on without.

    Args:
        work: Does it.
        what: What it makes, for a sentence.
        otherwise: What stands for it.
        tell: Takes the sentence.
    """
    try:
        return work()
    except Exception as error:  # noqa: BLE001 - out of memory, or an answer that cannot be written
        tell(f"{what} are left out of report.html: {type(error).__name__}: {error}")
        return otherwise
