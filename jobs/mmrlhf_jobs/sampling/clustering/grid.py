"""The grid that vectors lie on, and sums whose result depends on the numbers alone."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["GRID", "MAX_ROWS", "Floats", "Vectors", "is_on_grid", "to_grid", "tree_sum"]

Vectors = npt.NDArray[np.float32]
"""Rows of vectors, float32[N, D]."""

Floats = npt.NDArray[np.float64]
"""Numbers in float64."""

GRID: Final = 2.0**-24
"""Distance of two neighbours on the grid; float32 has no finer steps from 0.5 on, and every number
of float16 lies on it."""

MAX_ROWS: Final = 2**29
"""Most rows whose sum float64 holds without rounding: 53 bits less the 24 of the grid."""


def to_grid(vectors: npt.NDArray[Any]) -> Vectors:
    """Round vectors of length 1 to the grid; each number moves by at most 2^-25."""
    rounded: Vectors = (np.rint(np.asarray(vectors, np.float64) / GRID) * GRID).astype(np.float32)
    return rounded


def is_on_grid(vectors: Vectors) -> npt.NDArray[np.bool_]:
    """Whether each row is on the grid and of length 1 within 2^-10, bool[N]; NaN never is.

    Rounding to float16 moves a length by up to 2^-11.
    """
    scaled = vectors * np.float32(1 / GRID)
    # einsum: the square of the length is only compared, no result depends on its last bits.
    squared = np.einsum("nd,nd->n", vectors, vectors, dtype=np.float32)
    placed: npt.NDArray[np.bool_] = (scaled == np.rint(scaled)).all(axis=1)
    placed &= np.abs(squared - 1) < 2.0**-9
    return placed


def tree_sum(values: Floats) -> Floats:
    """Sum over the last axis in a fixed order: halves are added until one number is left.

    ``numpy.sum`` promises no order, and takes another one on other processors. This one is made of
    additions of whole arrays, so its rounding is the same everywhere: at most ``log2(D)`` times
    2^-53 of the sum of absolute values.

    Args:
        values: float64[..., D], D at least 1.
    """
    width = values.shape[-1]
    while width > 1:
        half = 1 << (width - 1).bit_length() - 1
        folded = values[..., :half].copy()
        folded[..., : width - half] += values[..., half:width]
        values, width = folded, half
    return values[..., 0]
