"""Lines and bars over steps as inline SVG; colours come from the base page, by class."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from mmrlhf_jobs.pages.svg import draw_line, draw_rect, draw_text, draw_title, picture

__all__ = ["COLOURS", "Line", "plot_bars", "plot_lines", "thin"]

COLOURS: Final = 6
"""Colours of lines; further ones take them again."""
_POINTS: Final = 300
"""Points of a line; more are averaged, since no screen shows them."""

_WIDTH: Final = 420
_HEIGHT: Final = 200
_LEFT: Final = 52
_RIGHT: Final = 16
_TOP: Final = 10
_BOTTOM: Final = 24


@dataclass(frozen=True)
class Line:
    """One line of a chart.

    Attributes:
        name: What it shows.
        points: Step and value of each point, by step; finite.
        colour: Number of its colour.
    """

    name: str
    points: Sequence[tuple[float, float]]
    colour: int = 0


def plot_lines(lines: Sequence[Line], label: str) -> str:
    """Lines over steps; those without a point are left out, and a single point is a dot.

    Args:
        lines: At least one with a point.
        label: What the chart shows.
    """
    shown = [line for line in lines if line.points]
    xs = [x for line in shown for x, _ in line.points]
    thinned = [(line, thin(line.points)) for line in shown]
    ys = [y for _, points in thinned for _, y in points]
    low, high = _widened(min(ys), max(ys))
    first, last = min(xs), max(*xs, min(xs) + 1)

    def place(x: float, y: float) -> tuple[float, float]:
        wide, tall = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
        across = (x - first) / (last - first)
        return _LEFT + across * wide, _TOP + (high - y) / (high - low) * tall

    parts = list(_axes(low, high, first, last, place(first, low)[1]))
    for line, points in thinned:
        placed = [place(x, y) for x, y in points]
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in placed)
        tip = draw_title(f"{line.name}: {points[0][1]:.4g} to {points[-1][1]:.4g}")
        style = f"s{line.colour % COLOURS}"
        if len(placed) == 1:
            x, y = placed[0]
            parts.append(f'<circle class="{style}" cx="{x:.1f}" cy="{y:.1f}" r="3">{tip}</circle>')
        else:
            parts.append(f'<path class="{style}" d="{path}">{tip}</path>')
    return picture(_WIDTH, _HEIGHT, label, parts)


def plot_bars(edges: Sequence[float], counts: Sequence[float], label: str) -> str:
    """A histogram.

    Args:
        edges: Edges of the bins, one more than there are counts, rising.
        counts: How many are in each bin; at least one is not 0.
        label: What it shows.
    """
    highest = max(counts)
    low, high = edges[0], edges[-1]
    wide, tall = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    base = float(_TOP + tall)
    parts = list(_axes(0.0, highest * 1.02, low, high, base))
    for (left, right), count in zip(pairwise(edges), counts, strict=True):
        x = _LEFT + (left - low) / (high - low) * wide
        width = (right - left) / (high - low) * wide
        height = count / (highest * 1.02) * tall
        tip = f"{count:,.0f} from {left:.4g} to {right:.4g}"
        parts.append(
            draw_rect("bar", x=x + 1, y=base - height, width=width - 2, height=height, title=tip)
        )
    return picture(_WIDTH, _HEIGHT, label, parts)


def thin(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most 300 points: the mean of as many stretches, each at the step it ends with."""
    size = -(-len(points) // _POINTS)
    if size <= 1:
        return list(points)
    return [
        (stretch[-1][0], math.fsum(y for _, y in stretch) / len(stretch))
        for stretch in (points[start : start + size] for start in range(0, len(points), size))
    ]


def _axes(low: float, high: float, first: float, last: float, base: float) -> Iterator[str]:
    wide, tall = _WIDTH - _LEFT - _RIGHT, base - _TOP
    for value in _ticks(low, high, 4):
        y = _TOP + (high - value) / (high - low) * tall
        yield draw_line("grid", x=(_LEFT, _WIDTH - _RIGHT), y=(y, y))
        yield draw_text(_LEFT - 6, y + 4, _short(value), "tick end")
    for value in _ticks(first, last, 5):
        x = _LEFT + (value - first) / (last - first) * wide
        yield draw_text(x, base + 16, _short(value), "tick middle")
    yield draw_line("axis", x=(_LEFT, _WIDTH - _RIGHT), y=(base, base))


def _widened(low: float, high: float) -> tuple[float, float]:
    """Bounds with a little room, and some where all values are alike."""
    room = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return low - room, high + room


def _ticks(low: float, high: float, about: int) -> list[float]:
    """Some `about` round numbers between two."""
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    start = math.ceil(low / step - 1e-9)
    return [n * step for n in range(start, start + 3 * about) if n * step <= high + 1e-9 * step]


def _short(value: float) -> str:
    """A number in a few characters."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= limit:
            divisor = 1e3 if unit == "k" else limit
            return f"{value / divisor:.4g}{unit}"
    return f"{value:.4g}".replace("-", "\N{MINUS SIGN}", 1 if value < 0 else 0)
