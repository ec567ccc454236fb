"""Vectors of unique media in two dimensions, for the map (paper Figure 2)."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mmrlhf_jobs.errors import SpecError
from mmrlhf_jobs.sampling.report.plane import lay_out

__all__ = ["MOST_MEDIA", "evenly", "project", "projection_table", "require_umap"]

MOST_MEDIA: Final = 100_000
"""More are not projected: the map would not show them, and it would take hours."""


def require_umap() -> None:
    """See to it that a map can be made, before the hours of work that come first.

    Raises:
        SpecError: umap-learn is not installed.
    """
    if find_spec("umap") is None:
        raise SpecError(
            "spec.report.map: the map needs umap-learn, which is not installed; install"
            " mmrlhf[sample], or set spec.report.map to false"
        )


def project(vectors: npt.NDArray[np.float32], *, seed: int) -> npt.NDArray[np.float32]:
    """UMAP by cosine distance, on one thread, which its seed needs to mean anything.

    Args:
        vectors: [N, D] of unique media, N at most :data:`MOST_MEDIA`.
        seed: The same one gives the same map on the same machine.

    Returns:
        [N, 2]. With fewer than four vectors there is nothing to fit: they stand in a line.
    """
    if len(vectors) < 4:
        line = np.arange(len(vectors), dtype=np.float32)
        return np.stack([line, np.zeros_like(line)], axis=1)
    return lay_out(vectors, seed=seed)


def evenly(count: int, most: int = MOST_MEDIA) -> npt.NDArray[np.int64]:
    """Numbers of at most so many of ``count`` things, evenly spread; media are in digest order."""
    if count <= most:
        return np.arange(count)
    return np.arange(most) * count // most


def projection_table(
    sha256: npt.NDArray[np.bytes_],
    points: npt.NDArray[np.floating],
    clusters: npt.NDArray[np.integer],
    selected: npt.NDArray[np.bool_],
) -> pa.Table:
    """The map as a table: ``sha256, x, y, cluster, selected``, a row a medium."""
    digests = pa.array([bytes(one).ljust(32, b"\0") for one in sha256], pa.binary(32))
    return pa.table(
        {
            "sha256": digests,
            "x": pa.array(points[:, 0], pa.float32()),
            "y": pa.array(points[:, 1], pa.float32()),
            "cluster": pa.array(clusters, pa.int32()),
            "selected": pa.array(selected, pa.bool_()),
        }
    )
