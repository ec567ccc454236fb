"""Plots as inline SVG; colours come from the page's style sheet."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["HUES", "cluster_hue", "plot_clusters", "plot_map"]

HUES: Final = 12
"""Number of colours; clusters take them in turn."""

_WIDTH: Final = 900
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
    height, base = 170, 165
    step = (_WIDTH - 10) / max(1, len(order))
    scale = (base - 15) / max(1.0, max(available, default=0) ** 0.5)
    parts = []
    for place, cluster in enumerate(order):
        x = 5 + place * step
        there, taken = available[cluster], selected[cluster]
        bars = (("there", there), ("taken", taken))
        tip = f"cluster {cluster}: {taken:,} of {there:,} selected"
        parts.append(f"<g><title>{escape(tip)}</title>")
        for style, count in bars:
            tall = count**0.5 * scale
            parts.append(
                f'<rect class="{style}" x="{x:.1f}" y="{base - tall:.1f}"'
                f' width="{max(1.0, step - 1):.1f}" height="{tall:.1f}"/>'
            )
        parts.append("</g>")
    parts.append(f'<line class="axis" x1="5" x2="{_WIDTH - 5}" y1="{base}" y2="{base}"/>')
    return _svg(_WIDTH, height, "Candidates and selected records by cluster", parts)


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
    return _svg(_WIDTH, height, f"Map of {len(placed):,} media", parts)


def _svg(width: int, height: int, label: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}">'
        f"{''.join(parts)}</svg>"
    )
