"""Vectors for tests, on disk as k-means reads them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mmrlhf_jobs.sampling.clustering.grid import Vectors, to_grid
from mmrlhf_jobs.sampling.clustering.points import Points, open_bucket


def unit(rows: npt.NDArray[Any]) -> Vectors:
    """Rows scaled to length 1, on the grid."""
    return to_grid(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def blobs(rows: int, width: int, *, blobs: int, seed: int = 0, noise: float = 0.1) -> Vectors:
    """Rows around directions, of which the first have most rows."""
    draw = np.random.default_rng(seed)
    weights = 1 / np.arange(1, blobs + 1)
    which = draw.choice(blobs, rows, p=weights / weights.sum())
    middles = unit(draw.standard_normal((blobs, width)))
    return unit(middles[which] + noise * draw.standard_normal((rows, width)))


def keys_of(rows: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Random keys in order, uint8[rows, 32]."""
    keys = np.random.default_rng(seed).integers(0, 256, (rows, 32), dtype=np.uint8)
    return keys[np.lexsort(keys.T[::-1])]


def save_points(
    folder: Path, rows: Vectors, *, cuts: Sequence[int] = (), dtype: Any = "f4"
) -> Points:
    """Write rows as buckets that begin at 0 and at the cuts."""
    folder.mkdir(parents=True, exist_ok=True)
    keys = keys_of(len(rows))
    buckets = []
    for number, (some, names) in enumerate(
        zip(np.split(rows, cuts), np.split(keys, cuts), strict=True)
    ):
        path, keys_path = folder / f"{number}.npy", folder / f"{number}.keys.npy"
        np.save(path, some.astype(dtype))
        np.save(keys_path, names)
        buckets.append(open_bucket(path, keys_path))
    return Points(buckets)
