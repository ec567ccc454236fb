"""A sweep on one page: the best setting, settings by their figure, a map of two fields, points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from mmrlhf_api.sweeps.grid import in_words, points_of
from mmrlhf_api.sweeps.ranking import Setting, best_of, settings_of
from mmrlhf_api.sweeps.types import SweepSpec, SweepStatus
from mmrlhf_jobs.pages.record import plain
from mmrlhf_jobs.pages.rendering import drawn, render
from mmrlhf_jobs.pages.run_report import number
from mmrlhf_jobs.pages.svg import draw_rect, draw_text, picture

__all__ = ["Grid", "grid_of", "plot_grid", "render_sweep"]

_SHADES: Final = 6
"""Shades of the map, from the worst to the best; the page's style sheet has them."""
_CELL: Final = (132, 56)
_LEFT: Final = 110
_BOTTOM: Final = 44
_LABEL: Final = 17
"""Letters that fit left of the cells."""


@dataclass(frozen=True)
class Grid:
    """Settings over the values of two fields, or of one.

    Attributes:
        across: Field whose values are columns.
        down: Field whose values are rows; None where one field varies.
        columns: Values of the first.
        rows: Values of the second.
        cells: Setting by column and row, where there is one.
    """

    across: str
    down: str | None
    columns: Sequence[Any]
    rows: Sequence[Any]
    cells: Mapping[tuple[Any, Any], Setting]


def grid_of(settings: Sequence[Setting]) -> Grid | None:
    """Lay settings out over their fields; None where these are not one or two."""
    fields = list(dict.fromkeys(field for one in settings for field in one.values))
    if not 1 <= len(fields) <= 2 or any(len(one.values) != len(fields) for one in settings):
        return None
    down, across = fields if len(fields) == 2 else (None, fields[0])
    return Grid(
        across=across,
        down=down,
        columns=list(dict.fromkeys(one.values[across] for one in settings)),
        rows=list(dict.fromkeys(one.values[down] if down else None for one in settings)),
        cells={(one.values[across], one.values[down] if down else None): one for one in settings},
    )


def plot_grid(grid: Grid, label: str, *, best: Sequence[str], maximize: bool) -> str:
    """A map of means: the better, the stronger; with spread and number of repetitions in words.

    Args:
        grid: The settings.
        label: What it shows.
        best: Points of the best setting, which has a frame.
        maximize: Whether more is better.
    """
    wide, tall = _CELL
    width, height = _LEFT + wide * len(grid.columns) + 2, tall * len(grid.rows) + _BOTTOM
    means = [one.mean for one in grid.cells.values() if one.mean is not None]
    low, high = min(means, default=0.0), max(means, default=0.0)
    parts: list[str] = []
    for row, down in enumerate(grid.rows):
        y = row * tall + 1
        if grid.down is not None:
            parts.append(draw_text(_LEFT - 10, y + tall / 2 + 4, str(down), "cell end"))
        for column, across in enumerate(grid.columns):
            x = _LEFT + column * wide
            one = grid.cells.get((across, down))
            if one is None:
                continue
            style = "none"
            if one.mean is not None:
                part = (one.mean - low) / (high - low) if high > low else 1.0
                shade = round((part if maximize else 1 - part) * (_SHADES - 1))
                style = f"heat h{shade}"
            title = f"{in_words(one.values)}: {number(one.mean)}"
            place = partial(draw_rect, x=x + 2, y=y + 2, width=wide - 4, height=tall - 4)
            parts.append(place(style, title=title))
            if one.measured and set(one.measured) == set(best):
                parts.append(place("frame"))
            middle = x + wide / 2
            parts.append(draw_text(middle, y + 26, number(one.mean), "cell middle"))
            parts.append(draw_text(middle, y + 43, _note(one), "small middle"))
    base = tall * len(grid.rows)
    for column, across in enumerate(grid.columns):
        middle = _LEFT + column * wide + wide / 2
        parts.append(draw_text(middle, base + 18, str(across), "cell middle"))
    parts.append(draw_text(_LEFT + wide * len(grid.columns) / 2, base + 37, grid.across, "middle"))
    if grid.down is not None:
        short = grid.down if len(grid.down) <= _LABEL else grid.down.rpartition(".")[2]
        parts.append(draw_text(2, 14, short, "start"))
    return picture(width, height, label, parts)


def render_sweep(body: Mapping[str, Any]) -> str:
    """The page of a sweep; equal objects give equal bytes.

    Args:
        body: The object as the API server, or ``sweep.json``, has it.

    Raises:
        ValidationError: It is no sweep.
    """
    spec = SweepSpec.model_validate(body["spec"], by_alias=True, by_name=False)
    status = SweepStatus.model_validate(body.get("status") or {}, by_alias=True, by_name=False)
    metadata, objective = body["metadata"], spec.objective
    values = {one.name: one.value for one in status.points if one.value is not None}
    settings = settings_of(points_of(spec), values, objective)
    best = best_of(settings, objective)
    named = best.points if best is not None else ()
    maximize = objective.goal == "maximize"
    grid = grid_of(settings)
    label = f"{plain(objective.metric)} by setting"
    ranked = sorted(
        (one for one in settings if one.mean is not None),
        key=lambda one: (
            len(one.measured) < len(one.points),
            -(one.mean or 0) if maximize else (one.mean or 0),
        ),
    )
    ranked += [one for one in settings if one.mean is None]
    return render(
        "sweep.html",
        title=f"{metadata.get('namespace', 'default')}/{metadata['name']}",
        lines=_lines(spec, status),
        metric=plain(objective.metric),
        goal="more is better" if maximize else "less is better",
        repeated=", ".join(objective.repeated),
        best=best,
        best_value="" if best is None else number(best.value),
        best_spread="" if best is None or best.spread is None else number(best.spread),
        map=None if grid is None else drawn(plot_grid(grid, label, best=named, maximize=maximize)),
        map_width=None if grid is None else _LEFT + _CELL[0] * len(grid.columns) + 2,
        settings=[
            (
                in_words(one.values) or "as the template",
                number(one.mean),
                number(one.spread),
                f"{len(one.measured)} of {len(one.points)}",
                bool(one.measured) and one.measured == tuple(named),
            )
            for one in ranked
        ],
        points=[
            (one.name, one.values, str(one.phase), number(one.value), one.job or "", one.message)
            for one in status.points
        ],
    )


def _lines(spec: SweepSpec, status: SweepStatus) -> list[str]:
    first = f"Sweep of {spec.template.kind}: {status.phase or 'Pending'}"
    lines = [first + (f", {status.summary} points ended" if status.summary else "")]
    if status.message:
        lines.append(status.message)
    rule = spec.early_stop
    if rule is not None:
        steps = ", ".join(map(str, rule.steps))
        lines.append(
            f"Ended early: at steps {steps} the best {rule.keep:.0%} of the points measured there"
            f" go on, once {rule.at_least} were"
        )
    return lines


def _note(one: Setting) -> str:
    if one.mean is None:
        return f"0 of {len(one.points)}"
    spread = "" if one.spread is None else f"± {one.spread:.2g}, "
    lacking = "" if len(one.measured) == len(one.points) else f" of {len(one.points)}"
    return f"{spread}n = {len(one.measured)}{lacking}"
