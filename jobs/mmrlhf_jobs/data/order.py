"""The order of an epoch: a seeded shuffle that needs little memory and can start anywhere.

The blocks are permuted, taken together in that order to windows of a bounded number of bytes, and
the rows of a window are permuted among themselves. The order is a function of the block index, the
seed and the epoch alone: it is the same on every machine, for every number of processes, and any
position can be reached by reading its window only.

Against a uniform shuffle, rows that are neighbours in a file stay within one window (16 MiB, some
thousand rows). A file sorted by topic is mixed as well as its blocks of 1 MiB can be; where that is
too coarse, shuffle the file once. A data set smaller than a window is shuffled uniformly.
"""

from __future__ import annotations

import hashlib
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["WINDOW_BYTES", "EpochOrder", "keyed_permutation"]

Int64Array = npt.NDArray[np.int64]

WINDOW_BYTES: Final = 16 << 20
"""Bytes of raw rows that are held and shuffled at a time. It is part of the order."""


def keyed_permutation(n: int, *key: object) -> Int64Array:
    """A permutation of ``range(n)`` that depends on the key alone.

    It sorts raw Philox output, which NumPy keeps the same across versions, unlike
    ``Generator.permutation``.
    """
    digest = hashlib.sha256(repr(key).encode()).digest()
    philox = np.random.Philox(key=int.from_bytes(digest[:16], "little"))
    return np.argsort(philox.random_raw(n), kind="stable").astype(np.int64)


class EpochOrder:
    """The order of N rows in one epoch.

    Args:
        usable: Rows of each block, int64[B], N in total.
        sizes: Bytes of each block, int64[B].
        seed: Seed of the run.
        epoch: Number of the epoch.
        window_bytes: Bound of a window; a larger block is a window of its own.
    """

    def __init__(
        self,
        usable: Int64Array,
        sizes: Int64Array,
        *,
        seed: int,
        epoch: int,
        window_bytes: int = WINDOW_BYTES,
    ) -> None:
        self._key = (int(seed), int(epoch))
        self._usable = usable
        self._blocks = keyed_permutation(len(usable), "blocks", *self._key)
        self._cuts = _window_cuts(sizes[self._blocks], window_bytes)
        rows = np.r_[0, np.cumsum(usable[self._blocks])]
        self._starts = rows[self._cuts].astype(np.int64)

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def num_windows(self) -> int:
        """Number of windows."""
        return len(self._starts) - 1

    def window_of(self, position: int) -> int:
        """The window that holds a position in [0, N)."""
        return int(np.searchsorted(self._starts, position, side="right")) - 1

    def window_start(self, window: int) -> int:
        """The first position of a window."""
        return int(self._starts[window])

    def window_rows(self, window: int) -> tuple[Int64Array, Int64Array]:
        """The rows of a window in the order of their positions.

        Returns:
            Block of each row, and which of the block's usable rows it is; int64[n] both.
        """
        blocks = self._blocks[self._cuts[window] : self._cuts[window + 1]]
        counts = self._usable[blocks]
        block = np.repeat(blocks, counts)
        row = np.arange(len(block)) - np.repeat(np.cumsum(counts) - counts, counts)
        order = keyed_permutation(len(block), "rows", *self._key, window)
        return block[order], row[order]


def _window_cuts(sizes: Int64Array, window_bytes: int) -> Int64Array:
    """Indices at which windows begin, and the number of blocks at the end."""
    ends = np.cumsum(sizes)
    cuts = [0]
    while cuts[-1] < len(sizes):
        begun = ends[cuts[-1]] - sizes[cuts[-1]]
        full = int(np.searchsorted(ends, begun + window_bytes, side="right"))
        cuts.append(max(full, cuts[-1] + 1))
    return np.array(cuts, np.int64)
