"""Budgets: which one is passed, and what its message says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mmrlhf_jobs.sampling.budgets import Limits, name_excess, sum_counts
from mmrlhf_jobs.sampling.corpora.reading import read_split
from mmrlhf_jobs.sampling.corpora.rows import RowSettings
from mmrlhf_jobs.sampling.parts import Parts
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from tests.unit.sampling.corpora import llava, split_of, write_lines

COUNTS = {"rows": 90, "drop:no-media": 8, "drop:missing-file": 1, "drop:not-utf8": 1}


@pytest.mark.parametrize(
    ("most", "per_reason", "field"),
    [
        (0.02, {}, None),
        (0.019, {}, "spec.failures.maxFraction"),
        (1.0, {"no-media": 0.08}, None),
        (1.0, {"no-media": 0.079}, "spec.failures.perReason[no-media]"),
        (1.0, {"missing-file": 0.0}, "spec.failures.perReason[missing-file]"),
        (1.0, {"empty-file": 0.0}, None),
    ],
)
def test_the_budget_that_is_passed(
    most: float, per_reason: dict[str, float], field: str | None
) -> None:
    excess = Limits(most, per_reason).excess(COUNTS, 100)
    assert (excess.field if excess else None) == field


def test_the_message_has_reasons_counts_and_the_worst_files(tmp_path: Path) -> None:
    parts = Parts(ArtifactStore(str(tmp_path / "out")), "rows", scratch=tmp_path / "scratch")
    made = []
    for name, bad in (("a", 1), ("b", 3)):
        rows: list[Any] = [
            llava("1", "q", "a", image=None),
            llava("2", "q", "a"),
            *[b"{broken"] * bad,
        ]
        path = write_lines(tmp_path / f"{name}.jsonl", rows)
        made.append(read_split(split_of(path), parts, RowSettings(), tell=lambda _rows: None))
    counts = sum_counts(made)
    assert counts["drop:invalid-json"] == 4
    assert Limits(0.5, {}).excess(counts, 8) is None
    excess = Limits(0.4, {}).excess(counts, 8)
    assert excess is not None
    text = str(name_excess(excess, made))
    assert "4 of 8 rows cannot be used (4 invalid-json), more than the 0.4" in text
    assert text.index(f"{tmp_path}/b.jsonl has 3") < text.index(f"{tmp_path}/a.jsonl has 1")
    assert "no-media" not in text
