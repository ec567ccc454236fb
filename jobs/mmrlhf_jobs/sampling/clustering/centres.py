"""Centres of clusters, and what makes a row belong to one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from mmrlhf_jobs.sampling.clustering.grid import Floats, Vectors, tree_sum

__all__ = ["Centres", "Metric"]

Metric = Literal["cosine", "euclidean"]
"""cosine: spherical k-means, centres have length 1; euclidean: centres are means."""

_SPLIT: Final = 2.0**-10
_UNIT: Final = 2.0**-24
_LONGEST: Final = 1 + 2.0**-10


@dataclass(frozen=True)
class Centres:
    """Centres of one clustering.

    A row x belongs to the centre c of the highest score: ``x c`` for cosine, ``x c - |c|^2 / 2``
    for euclidean, which orders centres as the distance does.

    Attributes:
        vectors: float32[K, D], as they are published: scores are those of these numbers.
        metric: How scores are made.
    """

    vectors: Vectors
    metric: Metric

    @cached_property
    def exact(self) -> Floats:
        """The same numbers in float64, where the product of two of them has no rounding."""
        return self.vectors.astype(np.float64)

    @cached_property
    def offsets(self) -> Floats:
        """What is taken off the product, float64[K]."""
        if self.metric == "cosine":
            return np.zeros(len(self.vectors))
        return tree_sum(self.exact**2) / 2

    @cached_property
    def error_bound(self) -> float:
        """Largest error of a score in float32, whatever the order of the sum.

        The rounding of a product of D numbers is at most ``D u / (1 - D u) |x| |c|`` with u = 2^-24
        (Higham, Accuracy and Stability of Numerical Algorithms, 3.1); three more roundings are
        those of the offset, its subtraction and a comparison.
        """
        terms = (self.vectors.shape[1] + 3) * _UNIT
        longest = float(np.sqrt(tree_sum(self.exact**2).max()))
        bound: float = terms / (1 - terms) * (_LONGEST * longest + float(self.offsets.max()))
        return bound

    def scores(self, rows: Vectors, labels: npt.NDArray[np.integer]) -> Floats:
        """Score of each row at the centre of its label, float64[N], in a fixed order."""
        products = self.exact[labels]
        products *= rows
        scores: Floats = tree_sum(products) - self.offsets[labels]
        return scores

    def distances(self, rows: Vectors, labels: npt.NDArray[np.integer]) -> Floats:
        """Distance of each row to the centre of its label, float64[N].

        It is ``1 - x c``, at least 0, for cosine; ``|x - c|`` for euclidean.
        """
        if self.metric == "cosine":
            return np.maximum(1 - self.scores(rows, labels), 0)
        return np.sqrt(tree_sum((rows - self.exact[labels]) ** 2))

    def inertia(self, sums: Floats, counts: Floats) -> float:
        """Sum of squared distances of all rows, each at its label.

        It follows from the sums alone, as rows have length 1: ``n + sum_k (n_k |c_k|^2 - 2 S_k
        c_k)``, and twice the sum of ``1 - x c`` for cosine.

        Args:
            sums: Sum of the rows of each label, float64[K, D].
            counts: Their number, float64[K].
        """
        products = tree_sum(sums * self.exact)
        if self.metric == "cosine":
            return max(2 * float(counts.sum() - tree_sum(products)), 0.0)
        squares = 2 * self.offsets * counts
        return max(float(counts.sum() + tree_sum(squares - 2 * products)), 0.0)

    def updated(self, sums: Floats, counts: Floats) -> Centres:
        """Centres of the rows that belong to these ones.

        Empty clusters take half of the largest one each, lowest numbers first: both halves are the
        centre, moved by 2^-10 to either side, up and down in turn by coordinate (faiss scales its
        coordinates so instead). A cluster whose rows sum to zero has no direction and keeps its
        centre.

        Args:
            sums: Sum of the rows of each label, float64[K, D].
            counts: Their number, float64[K].
        """
        sizes = counts.copy()
        means = self.exact.copy()
        full = counts > 0
        means[full] = sums[full] / counts[full, None]
        width = means.shape[1]
        step = np.where(np.arange(width) % 2, -_SPLIT, _SPLIT) / np.sqrt(width)
        for empty in np.flatnonzero(~full):
            largest = int(sizes.argmax())
            if sizes[largest] < 2:
                break
            means[empty], means[largest] = means[largest] + step, means[largest] - step
            sizes[empty] = sizes[largest] // 2
            sizes[largest] -= sizes[empty]
        if self.metric == "cosine":
            lengths = np.sqrt(tree_sum(means**2))
            means = np.where(lengths[:, None] > 0, means, self.exact)
            means /= np.where(lengths > 0, lengths, 1)[:, None]
        return Centres(means.astype(np.float32), self.metric)
