"""The table of families in docs/models.md."""

from __future__ import annotations

from pathlib import Path

import pytest
import transformers

from mmrlhf_jobs.models import page
from mmrlhf_jobs.models.families.rows import LOWEST, ROWS, find_row
from tests.jobs.models.zoo import EVERYWHERE, WITH_TORCHVISION

DOCS = Path(__file__).parents[3] / page.PAGE


def test_the_page_is_what_the_table_says() -> None:
    text = DOCS.read_text(encoding="utf-8")
    assert page.fill(text) == text


def test_a_row_that_is_not_on_the_page_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    text = DOCS.read_text(encoding="utf-8")
    monkeypatch.setattr(page, "ROWS", ROWS[1:])
    assert page.fill(text) != text


def test_every_row_of_the_table_has_a_model_in_the_tests() -> None:
    for row in ROWS:
        assert set(row.model_types) <= set(WITH_TORCHVISION if row.needs else EVERYWHERE), row.name
        assert all(find_row(name) is row for name in row.model_types)
    assert find_row("vipllava") is None
    assert "vipllava" in EVERYWHERE, "a family that the rules alone read"
    makefile = (DOCS.parents[1] / "Makefile").read_text(encoding="utf-8")
    assert f"-k {' or '.join(WITH_TORCHVISION)} tests/jobs/models/test_generic.py" in makefile


def test_the_oldest_transformers_is_the_one_that_is_allowed() -> None:
    project = (DOCS.parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    assert f'"transformers>={LOWEST}"' in project
    assert all(row.holds_for(transformers.__version__) for row in ROWS)
    assert not all(row.holds_for(f"{LOWEST}.4") for row in ROWS)
    assert find_row("llava").holds_for(f"{LOWEST}.0")  # type: ignore[union-attr]
