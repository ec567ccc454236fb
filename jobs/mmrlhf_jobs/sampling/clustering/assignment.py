"""Which centre each row belongs to, exactly."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from mmrlhf_jobs.sampling.clustering.centres import Centres
from mmrlhf_jobs.sampling.clustering.grid import Vectors

__all__ = ["Labels", "assign"]

Labels = npt.NDArray[np.int64]
"""Number of the centre of each row, int64[N]."""

_PAIRS: Final = 1 << 14


def assign(rows: Vectors, centres: Centres) -> Labels:
    """Label of each row: the centre with the highest score in float64, the lowest of equal ones.

    Scores are made in float32 by BLAS, in an order of its own. Where another one is nearer to the
    best than twice the error that any order can make (:attr:`Centres.error_bound`), the centres
    that could be best are compared in float64, in a fixed order. So labels follow from rows and
    centres alone.

    Args:
        rows: float32[N, D], of length 1.
        centres: K centres.
    """
    scores = rows @ centres.vectors.T
    if centres.metric == "euclidean":
        scores -= centres.offsets.astype(np.float32)
    every = np.arange(len(rows))
    labels: Labels = scores.argmax(axis=1)
    best = scores[every, labels]
    scores[every, labels] = -np.inf
    floor = best - np.float32(2 * centres.error_bound)
    contested = np.flatnonzero(scores.max(axis=1) >= floor)
    scores[every, labels] = best
    # Few rows; but with many equal centres there may be K pairs for each.
    step = max(_PAIRS // len(centres.vectors), 1)
    for start in range(0, len(contested), step):
        some = contested[start : start + step]
        labels[some] = _decide(rows[some], scores[some] >= floor[some, None], centres)
    return labels


def _decide(rows: Vectors, candidates: npt.NDArray[np.bool_], centres: Centres) -> Labels:
    """Labels of some rows among candidates, bool[N, K]."""
    places, labels = np.nonzero(candidates)
    scores = np.full(candidates.shape, -np.inf)
    scores[places, labels] = centres.scores(rows[places], labels)
    decided: Labels = scores.argmax(axis=1)
    return decided
