"""A report that cannot be drawn is told, and no reason for anything to fail."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mmrlhf_jobs.training.report import draw_report, or_without
from tests.unit.pages.runs import MANIFEST, rows

METRICS = "".join(json.dumps(row) + "\n" for row in rows())


def test_a_report_is_drawn_without_a_word() -> None:
    told: list[str] = []
    page, failed = draw_report(MANIFEST, METRICS, (), sample_tokens=1, tell=told.append)
    assert "<figcaption>Loss" in page
    assert (failed, told) == (None, [])


@pytest.mark.parametrize(
    ("manifest", "metrics", "why"),
    [
        (MANIFEST, "[1]", "ValueError: line 1 is no object"),
        ({**MANIFEST, "rewards": {"pairs": 1}}, METRICS, "KeyError: 'disagreement'"),
        ({}, METRICS, "KeyError: 'job'"),
    ],
)
def test_a_failure_is_told_and_on_the_page(
    manifest: dict[str, Any], metrics: str, why: str
) -> None:
    told: list[str] = []
    page, failed = draw_report(manifest, metrics, (), sample_tokens=1, tell=told.append)
    assert failed == why
    assert "could not be drawn" in page
    assert told == [f"report.html could not be drawn: {why}; the run is whole without it"]


def test_what_only_the_report_needs_may_fail() -> None:
    told: list[str] = []
    assert or_without(lambda: 3, "answers", otherwise=0, tell=told.append) == 3
    assert not told

    def fail() -> int:
        raise MemoryError("out of memory")

    assert or_without(fail, "answers", otherwise=0, tell=told.append) == 0
    assert told == ["answers are left out of report.html: MemoryError: out of memory"]
