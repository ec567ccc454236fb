"""Lloyd's algorithm over blocks of rows, on any number of threads and processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from mmrlhf_jobs.errors import InputError
from mmrlhf_jobs.sampling.clustering.assignment import Labels, assign
from mmrlhf_jobs.sampling.clustering.centres import Centres, Metric
from mmrlhf_jobs.sampling.clustering.grid import MAX_ROWS, Floats, Vectors
from mmrlhf_jobs.sampling.clustering.points import BLOCK_ROWS, Block, Points

__all__ = ["Alone", "Fit", "KMeans", "Ranks", "thread_count"]


class Ranks(Protocol):
    """The processes that cluster together; :class:`mmrlhf_jobs.process.gang.Runtime` is one."""

    @property
    def rank(self) -> int:
        """Number of this process."""

    @property
    def world_size(self) -> int:
        """Number of processes."""

    def sum_array(self, values: Floats) -> Floats:
        """Sum of the arrays of all processes, float64 of one shape."""


@dataclass(frozen=True)
class Alone:
    """One process."""

    rank: int = 0
    world_size: int = 1

    def sum_array(self, values: Floats) -> Floats:
        """The values themselves."""
        return values


@dataclass(frozen=True)
class KMeans:
    """How to cluster.

    Attributes:
        metric: What makes a row belong to a centre.
        iterations: Most iterations.
        tolerance: Stop when the inertia falls by less than this part of itself.
        batch_rows: Rows of a mini-batch; None takes all rows in every iteration.
    """

    metric: Metric = "cosine"
    iterations: int = 50
    tolerance: float = 1e-4
    batch_rows: int | None = None


@dataclass(frozen=True)
class Fit:
    """A clustering after some iterations; the next ones follow from it and the points.

    Attributes:
        centres: The centres.
        iterations: Iterations done.
        inertia: Sum of squared distances at the start of each iteration, to the centres of that
            time; with mini-batches, over the rows of that batch.
        converged: Whether it stopped by the tolerance.
        full: Whether no cluster was empty in the last iteration.
        sums: Sums of the rows of each cluster over all mini-batches so far, float64[K, D]; zeros
            without mini-batches.
        counts: Their number, float64[K].
    """

    centres: Centres
    iterations: int = 0
    inertia: tuple[float, ...] = ()
    converged: bool = False
    full: bool = True
    sums: Floats = field(default_factory=lambda: np.zeros(0))
    counts: Floats = field(default_factory=lambda: np.zeros(0))

    def run(
        self,
        points: Points,
        how: KMeans,
        *,
        ranks: Ranks | None = None,
        threads: int | None = None,
        save: Callable[[Fit], None] | None = None,
    ) -> Fit:
        """Iterate until it converges or the iterations are used up.

        Without mini-batches, an iteration assigns all rows and moves each centre to the mean of its
        rows. With them, it assigns the next rows and moves each centre to the mean of all rows that
        have come to it so far (Sculley, Web-scale k-means clustering, 2010); all iterations are
        run, since the inertia of single batches does not fall steadily. Rows are in the order of
        their digests, so neighbours are a random sample.

        Args:
            points: All vectors.
            how: How to cluster.
            ranks: The processes that share the work; every one gets the same result.
            threads: Threads of this process.
            save: Called after each iteration.

        Raises:
            InputError: All mini-batches together have more rows than can be summed exactly.
            DataError: A row is not what k-means takes.
        """
        if how.batch_rows is not None and how.batch_rows * how.iterations > MAX_ROWS:
            raise InputError(
                f"{how.iterations} iterations of {how.batch_rows} rows are more than {MAX_ROWS}"
                " rows in all; lower spec.clustering.batchRows or spec.clustering.iterations"
            )
        ranks = ranks or Alone()
        fit, blocks = self, points.blocks()
        size = len(blocks) if how.batch_rows is None else max(how.batch_rows // BLOCK_ROWS, 1)
        workers = [_Worker() for _ in range(threads or thread_count())]
        with threadpool_limits(1), ThreadPoolExecutor(len(workers)) as pool:
            while fit.iterations < how.iterations and not fit.converged:
                start = fit.iterations * size
                batch = [blocks[place % len(blocks)] for place in range(start, start + size)]
                mine = batch[ranks.rank :: ranks.world_size]
                kept = how.batch_rows is None
                sums, counts = _sum_clusters(workers, mine, fit.centres, pool=pool, keep=kept)
                sums, counts = ranks.sum_array(sums), ranks.sum_array(counts)
                fit = fit._after(how, sums, counts)
                if save is not None:
                    save(fit)
        return fit

    def _after(self, how: KMeans, sums: Floats, counts: Floats) -> Fit:
        inertia = (*self.inertia, self.centres.inertia(sums, counts))
        fit = replace(self, iterations=self.iterations + 1, inertia=inertia)
        if how.batch_rows is not None:
            if self.counts.any():
                sums, counts = self.sums + sums, self.counts + counts
            return replace(
                fit, centres=self.centres.updated(sums, counts), sums=sums, counts=counts
            )
        # What was split has yet to move apart, so it is no sign that nothing moves any more.
        full = bool(counts.all())
        if full and self.full and len(inertia) > 1:
            gain = inertia[-2] - inertia[-1]
            if gain <= how.tolerance * inertia[-2]:
                return replace(fit, converged=True)
        return replace(fit, centres=self.centres.updated(sums, counts), full=full)


class _Worker:
    """One thread's share of the blocks, always the same one.

    It keeps the labels, 2 bytes a row for up to 65,536 centres, and the sums: in later iterations
    few rows change their label, and only those are moved from one sum to another. As sums have no
    rounding, that gives what adding all rows again would.
    """

    def __init__(self) -> None:
        self._labels: dict[Block, npt.NDArray[np.unsignedinteger]] = {}
        self._sums, self._counts = np.zeros(0), np.zeros(0)

    def sum_clusters(
        self, blocks: Iterable[Block], centres: Centres, *, keep: bool
    ) -> tuple[Floats, Floats]:
        """Sums and numbers of rows of each label, float64[K, D] and float64[K]."""
        if not self._labels:
            self._sums = np.zeros(centres.vectors.shape)
            self._counts = np.zeros(len(centres.vectors))
        small = np.uint16 if len(centres.vectors) <= 1 << 16 else np.uint32
        for block in blocks:
            known = self._labels.get(block)
            rows = block.read() if known is not None else block.read_checked()
            labels = assign(rows, centres)
            if known is None:
                self._add(rows, labels)
            else:
                moved = np.flatnonzero(labels != known)
                self._add(rows[moved], labels[moved])
                self._add(-rows[moved], known[moved].astype(np.int64), count=-1)
            if keep:
                self._labels[block] = labels.astype(small)
        return self._sums, self._counts

    def _add(self, rows: Vectors, labels: Labels, *, count: int = 1) -> None:
        if not len(rows):
            return
        order = np.argsort(labels, kind="stable")
        found, starts = np.unique(labels[order], return_index=True)
        self._sums[found] += np.add.reduceat(rows[order], starts, axis=0, dtype=np.float64)
        self._counts += count * np.bincount(labels, minlength=len(self._counts))


def _sum_clusters(
    workers: Sequence[_Worker],
    blocks: Sequence[Block],
    centres: Centres,
    *,
    pool: ThreadPoolExecutor,
    keep: bool,
) -> tuple[Floats, Floats]:
    def work(number: int) -> tuple[Floats, Floats]:
        return workers[number].sum_clusters(blocks[number :: len(workers)], centres, keep=keep)

    parts = list(pool.map(work, range(len(workers))))
    sums, counts = (np.sum(part, axis=0) for part in zip(*parts, strict=True))
    return sums, counts


def thread_count() -> int:
    """Threads that this process may use: as many as OpenMP would."""
    return int(os.environ.get("OMP_NUM_THREADS", "0")) or len(os.sched_getaffinity(0))
