"""A sweep on one page."""

from __future__ import annotations

import copy
import re
from typing import Any

from mmrlhf_api.sweeps.grid import points_of
from mmrlhf_api.sweeps.ranking import settings_of
from mmrlhf_jobs.pages.sweep import grid_of, render_sweep
from tests.unit.sweeps.specimens import body, sweep

GRID = [
    {"field": "objective.beta.w", "values": [0.25, 0.5, 1.0]},
    {"field": "objective.beta.k", "values": [0.5, 1.0]},
    {"field": "training.seed", "values": [0, 1]},
]


def measured(**changes: Any) -> dict[str, Any]:
    """A sweep whose points have 0.50, 0.51 and so on."""
    found = body(**{"parameters": GRID, **changes})
    points = points_of(sweep(**{"parameters": GRID, **changes}).spec)
    found["status"] = {
        "phase": "Succeeded",
        "points": [
            {
                "name": one.name,
                "values": "v",
                "phase": "Succeeded",
                "value": 0.5 + int(one.name) / 100,
            }
            for one in points
        ],
    }
    return found


def cells(page: str) -> list[tuple[str, str]]:
    """Shade and what shows under the mouse of each cell of the map."""
    return re.findall(r'class="(heat h\d|none)"[^>]*><title>([^<]*)</title>', page)


def test_two_fields_make_a_map_of_means_with_their_spread() -> None:
    page = render_sweep(measured())
    found = cells(page)
    assert len(found) == 6
    assert found[0] == ("heat h0", "objective.beta.w=0.25, objective.beta.k=0.5: 0.505")
    assert found[-1] == ("heat h5", "objective.beta.w=1.0, objective.beta.k=1.0: 0.605")
    assert page.count('class="frame"') == 1
    assert page.count("± 0.0071, n = 2") == 6
    rows = re.findall(r'<tr><td class="name">(.*?)</td><td>(.*?)</td>', page)
    assert rows[0] == ("<b>objective.beta.w=1.0, objective.beta.k=1.0</b>", "0.605")
    assert [value for _, value in rows[:6]] == sorted((v for _, v in rows[:6]), reverse=True)


def test_where_less_is_better_the_least_is_the_darkest_and_the_best() -> None:
    objective = {"metric": "afterPreferenceMargin", "goal": "minimize"}
    page = render_sweep(measured(objective=objective))
    assert cells(page)[0][0] == "heat h5"
    assert "<b>objective.beta.w=0.25, objective.beta.k=0.5</b>" in page


def test_one_field_is_a_row_and_more_than_two_are_a_table_alone() -> None:
    assert len(cells(render_sweep(measured(parameters=[GRID[0]])))) == 3
    more = [*GRID[:2], {"field": "optimizer.learningRate", "values": [1e-6, 1e-5]}]
    page = render_sweep(measured(parameters=more))
    assert cells(page) == []
    assert page.count("optimizer.learningRate=1e-05") >= 6
    odd = sweep(points=[{"values": [{"field": "training.epochs", "value": 2}]}]).spec
    assert grid_of(settings_of(points_of(odd), {}, odd.objective)) is None


def test_a_sweep_that_has_not_begun_and_one_with_hostile_words_are_pages_too() -> None:
    assert "Pending" in render_sweep(body())
    found = copy.deepcopy(measured())
    found["status"]["points"][0]["message"] = "<script>x</script>\u202e"
    found["status"]["message"] = "<b>no</b>"
    page = render_sweep(found)
    assert "<script>" not in page
    assert "<b>no" not in page
    assert "\u202e" not in page
    assert render_sweep(found) == page
