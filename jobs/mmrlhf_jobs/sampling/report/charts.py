"""Plots as inline SVG; colours come from the page's style sheet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from mmrlhf_jobs.pages.svg import draw_line, draw_rect, draw_title, picture

__all__ = ["HUES", "cluster_hue", "plot_clusters", "plot_map"]

HUES: Final = 12
"""Number of colours; clusters take them in turn."""

_WIDTH: Final = 900
_FEW_POINTS: Final = 500
"""Fewer are drawn larger."""

_MOST_POINTS: Final = 20_000
"""Points that a browser draws without delay; the coordinates of all are in the Parquet file."""


def cluster_hue(cluster: int) -> int:
    """Colour of a cluster."""
    return cluster % HUES


def plot_clusters(available: Sequence[int], selected: Sequence[int]) -> str:
    """Candidates and selected records of each cluster, largest first, on a scale of square roots.

    Args:
        available: Candidates, one number a cluster.
        selected: What was picked of them.
    """
    order = sorted(range(len(available)), key=lambda cluster: (-available[cluster], cluster))
    base, highest = 100.0, max(1, max(available, default=0))
    step = _WIDTH / max(1, len(order))
    scale = 0.94 * base / highest**0.5
    parts, labels = [], []
    for count in _ticks(highest):
        y = base - count**0.5 * scale
        labels.append(f'<span style="top:{y:.1f}%">{count:,}</span>')
        parts.append(draw_line("grid", x=(0, _WIDTH), y=(y, y)))
    for place, cluster in enumerate(order):
        x = place * step
        there, taken = available[cluster], selected[cluster]
        bars = (("there", there), ("taken", taken))
        tip = f"cluster {cluster}: {taken:,} of {there:,} selected"
        parts.append(f"<g>{draw_title(tip)}")
        for style, count in bars:
            tall = count**0.5 * scale
            wide = max(0.8 * step, step - 2)
            parts.append(draw_rect(style, x=x, y=base - tall, width=wide, height=tall))
        parts.append("</g>")
    parts.append(draw_line("axis", x=(0, _WIDTH), y=(base, base)))
    # Stretched to any width, so its labels stand outside of it.
    chart = picture(_WIDTH, 100, "Candidates and selected records by cluster", parts, stretch=True)
    gutter = len(f"{highest:,}")
    return f'<div class="bars" style="--gutter:{gutter}ch">{chart}{"".join(labels)}</div>'


def plot_map(
    points: npt.NDArray[np.floating],
    clusters: npt.NDArray[np.integer],
    selected: npt.NDArray[np.bool_],
) -> str:
    """Media in two dimensions, coloured by cluster; selected ones are filled (paper Figure 2).

    Args:
        points: Coordinates of unique media, [N, 2], finite.
        clusters: Cluster of each, [N].
        selected: Whether a record with it was picked, [N].
    """
    step = max(1, -(-len(points) // _MOST_POINTS))
    points, clusters, selected = points[::step], clusters[::step], selected[::step]
    low, high = points.min(axis=0), points.max(axis=0)
    spread = np.maximum(high - low, 1e-9)
    height = 560
    placed = (points - low) / spread * (np.array([_WIDTH, height]) - 24) + 12
    # One path a colour instead of an element a point keeps the page small.
    parts = []
    for taken, style in ((False, "rest"), (True, "dot")):
        for hue in range(HUES):
            mine = placed[(selected == taken) & (clusters % HUES == hue)]
            if len(mine):
                path = "".join(f"M{x:.1f} {height - y:.1f}h0" for x, y in mine)
                parts.append(f'<path class="{style} h{hue}" d="{path}"/>')
    chart = picture(_WIDTH, height, f"Map of {len(placed):,} media", parts)
    few = " few" if len(placed) < _FEW_POINTS else ""
    return f'<div class="map{few}">{chart}</div>'


def _ticks(highest: int) -> list[int]:
    """A few round numbers up to the highest, far enough from each other for their labels."""
    found: list[int] = []
    gap = 0.15 * float(highest) ** 0.5
    for power in range(len(str(highest)) - 1, -1, -1):
        for digit in (5, 2, 1):
            count = digit * 10**power
            above = found[-1] if found else 4 * highest
            if count <= highest and above**0.5 - gap > count**0.5 > gap:
                found.append(count)
    return found
