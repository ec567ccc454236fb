"""Runs over each other."""

from __future__ import annotations

import copy
import re

from mmrlhf_jobs.pages.comparison import compare_figures, differing_fields, render_comparison
from mmrlhf_jobs.pages.record import RunRecord
from tests.unit.pages.runs import MANIFEST, rows, run


def pair() -> dict[str, RunRecord]:
    manifest = copy.deepcopy(MANIFEST)
    manifest["job"]["spec"]["optimizer"]["learningRate"] = 5e-6
    manifest["job"]["spec"]["adapter"] = {"rank": 16}
    manifest["metrics"] = {"afterPreferenceAccuracy": 0.9, "afterCritiqueLoss": 1.5}
    return {"one": run(), "two <b>": RunRecord(manifest, rows(10, scale=3.0))}


def test_figures_stand_side_by_side_and_what_is_missing_is_a_dash() -> None:
    figures = dict(compare_figures(pair()))
    assert figures["after preference accuracy"] == ["0.75", "0.9"]
    assert figures["after critique loss"] == ["-", "1.5"]
    assert figures["before preference accuracy"] == ["0.5", "-"]
    assert figures["loss"][1] == "0.3"


def test_only_fields_that_differ_are_named() -> None:
    assert dict(differing_fields(pair())) == {
        "optimizer.learningRate": ["1e-06", "5e-06"],
        "adapter.rank": ["-", "16"],
    }
    assert differing_fields({"a": run(), "b": run()}) == []


def test_each_chart_has_a_line_of_each_run() -> None:
    page = render_comparison(pair())
    assert "two &lt;b&gt;" in page
    assert "<b>" not in page
    charts = re.findall(r"<figure>.*?</figure>", page, flags=re.DOTALL)
    assert len(charts) == 8
    loss = charts[0]
    assert loss.count("<path") == 2
    assert 'class="s0"' in loss
    assert 'class="s1"' in loss
    assert "Nothing: they were asked for the same" in render_comparison({"a": run(), "b": run()})
    assert render_comparison(pair()) == page
