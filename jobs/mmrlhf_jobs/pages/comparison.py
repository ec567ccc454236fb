"""Several runs laid over each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmrlhf_jobs.pages.charts import COLOURS, Line, plot_lines
from mmrlhf_jobs.pages.record import CHARTS, RunRecord, final_figures, flatten, plain
from mmrlhf_jobs.pages.rendering import drawn, render
from mmrlhf_jobs.pages.run_report import number

__all__ = ["compare_figures", "differing_fields", "render_comparison"]


def compare_figures(runs: Mapping[str, RunRecord]) -> list[tuple[str, list[str]]]:
    """Figures in words, and the value of each run; a dash where it has none."""
    each = [final_figures(run) for run in runs.values()]
    names = dict.fromkeys(name for figures in each for name in figures)
    return [(plain(name), [number(figures.get(name)) for figures in each]) for name in names]


def differing_fields(runs: Mapping[str, RunRecord]) -> list[tuple[str, list[str]]]:
    """Fields of the specs that are not alike, and what each has."""
    specs = [flatten(run.spec) for run in runs.values()]
    names = dict.fromkeys(name for spec in specs for name in spec)
    found = []
    for name in names:
        values = ["-" if spec.get(name) is None else str(spec[name]) for spec in specs]
        if len(set(values)) > 1:
            found.append((name, values))
    return found


def render_comparison(runs: Mapping[str, RunRecord]) -> str:
    """The page of several runs, by the names they are to have on it."""
    charts = []
    for title, names in _shared_charts(list(runs.values())):
        lines = [
            Line(name, run.points(names), place) for place, (name, run) in enumerate(runs.items())
        ]
        charts.append({"title": title, "legend": [], "drawing": drawn(plot_lines(lines, title))})
    return render(
        "comparison.html",
        title=f"{len(runs)} runs",
        lines=[],
        runs=[(place % COLOURS, name) for place, name in enumerate(runs)],
        figures=compare_figures(runs),
        charts=charts,
        differences=differing_fields(runs),
    )


def _shared_charts(runs: Sequence[RunRecord]) -> list[tuple[str, str]]:
    """One chart a figure that any of the runs has: the first of each chart of a run."""
    found: dict[str, str] = {}
    for run in runs:
        for title, figures in run.charts():
            found.setdefault(title, figures[0])
    order: list[Any] = [title for title, _ in CHARTS]
    return sorted(
        found.items(),
        key=lambda one: order.index(one[0]) if one[0] in order else len(order),
    )
