"""Draws scans as ink on paper: rows of cells for pictures, one cell a frame for videos."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import numpy as np
from PIL import Image

from examples.digits.scans import INK_MAX, load_scans

__all__ = ["CELL", "draw_frames", "draw_row"]

CELL = 64
"""Side of a digit's cell in pixels."""
_GLYPH = 52
"""Side of the scan inside its cell; the rest is room for jitter."""
_JITTER = 3
_PAPERS = ((252, 250, 242), (240, 244, 250), (255, 255, 255), (247, 240, 226))
_INKS = ((24, 28, 48), (20, 52, 120), (60, 30, 24), (16, 64, 44))


def draw_row(scans: Sequence[int], rng: Random) -> Image.Image:
    """Draws the scans side by side, one cell each, on one sheet with one pen.

    Returns:
        RGB image of ``CELL`` by ``CELL * len(scans)`` pixels.
    """
    paper, ink = rng.choice(_PAPERS), rng.choice(_INKS)
    sheet = Image.new("RGB", (CELL * len(scans), CELL), paper)
    for column, scan in enumerate(scans):
        sheet.paste(_draw_cell(scan, paper=paper, ink=ink, rng=rng), (CELL * column, 0))
    return sheet


def draw_frames(scans: Sequence[int], rng: Random) -> list[Image.Image]:
    """Draws each scan as a frame of its own, ``CELL`` by ``CELL`` pixels, same sheet and pen."""
    paper, ink = rng.choice(_PAPERS), rng.choice(_INKS)
    return [_draw_cell(scan, paper=paper, ink=ink, rng=rng) for scan in scans]


def _draw_cell(
    scan: int, *, paper: tuple[int, int, int], ink: tuple[int, int, int], rng: Random
) -> Image.Image:
    images, _ = load_scans()
    coverage = (images[scan] * (255 / INK_MAX)).round().astype(np.uint8)
    glyph = Image.fromarray(coverage).resize((_GLYPH, _GLYPH), Image.Resampling.BICUBIC)
    mask = Image.new("L", (CELL, CELL), 0)
    margin = (CELL - _GLYPH) // 2
    mask.paste(
        glyph, (margin + rng.randint(-_JITTER, _JITTER), margin + rng.randint(-_JITTER, _JITTER))
    )
    return Image.composite(
        Image.new("RGB", (CELL, CELL), ink), Image.new("RGB", (CELL, CELL), paper), mask
    )
