"""Vectors on disk, as k-means reads them: buckets of rows, cut into blocks."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mmrlhf_jobs.errors import DataError, InputError, StorageError
from mmrlhf_jobs.sampling.clustering.grid import MAX_ROWS, Vectors, is_on_grid

__all__ = ["BLOCK_ROWS", "KEY_BYTES", "Block", "Bucket", "Points", "open_bucket"]

BLOCK_ROWS: Final = 4096
"""Rows of a block: one thread's work at a time. No result depends on it."""

KEY_BYTES: Final = 32
"""Length of a row's key: the SHA-256 of the medium."""


@dataclass(frozen=True)
class Bucket:
    """Rows of one pair of files, sorted by key.

    Attributes:
        path: ``.npy`` of float32 or float16 [N, D].
        keys_path: ``.npy`` of uint8 [N, 32].
        rows: N.
        width: D.
        dtype: Number format on disk.
        offset: Bytes before the first number.
    """

    path: Path
    keys_path: Path
    rows: int
    width: int
    dtype: np.dtype[Any]
    offset: int

    def read(self, start: int, stop: int) -> Vectors:
        """Rows from ``start`` to ``stop``, float32.

        They are read and not mapped: a mapped file counts as memory once it was passed over, and
        one that became shorter would end the process by a signal.

        Raises:
            StorageError: The file is shorter than it says.
        """
        count = (stop - start) * self.width
        place = self.offset + start * self.width * self.dtype.itemsize
        numbers = np.fromfile(self.path, self.dtype, count=count, offset=place)
        if len(numbers) != count:
            raise StorageError(f"{self.path}: ends before row {stop}; make the bucket again")
        return numbers.reshape(-1, self.width).astype(np.float32, copy=False)

    def take(self, rows: npt.NDArray[np.integer]) -> Vectors:
        """Some rows, float32[len(rows), D], in the order asked for.

        Raises:
            StorageError: The file is shorter than it says.
        """
        numbers = np.empty((len(rows), self.width), np.float32)
        buffer = np.empty(self.width, self.dtype)
        with self.path.open("rb", buffering=0) as file:
            for place, row in enumerate(rows):
                start = self.offset + int(row) * buffer.nbytes
                if os.preadv(file.fileno(), [buffer.data], start) != buffer.nbytes:
                    raise StorageError(f"{self.path}: ends too soon; make the bucket again")
                numbers[place] = buffer
        return numbers

    def keys(self) -> npt.NDArray[np.uint8]:
        """Keys of all rows, uint8[N, 32].

        Raises:
            StorageError: There is not one key for each row.
        """
        keys: npt.NDArray[np.uint8] = np.load(self.keys_path)
        if keys.shape != (self.rows, KEY_BYTES) or keys.dtype != np.uint8:
            raise StorageError(
                f"{self.keys_path}: holds {keys.dtype}{list(keys.shape)}; expected"
                f" uint8[{self.rows}, {KEY_BYTES}]"
            )
        return keys


def open_bucket(path: Path, keys_path: Path) -> Bucket:
    """Read the header of a bucket.

    Raises:
        StorageError: The file is no ``.npy`` of float32 or float16 rows.
    """
    try:
        # Only its header is wanted; the map goes away unread.
        header = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise StorageError(f"{path}: is no readable bucket: {error}") from error
    kinds = (np.dtype(np.float32), np.dtype(np.float16))
    if header.ndim != 2 or header.dtype not in kinds or not header.flags.c_contiguous:
        raise StorageError(
            f"{path}: holds {header.dtype}{list(header.shape)}; expected rows of float32 or float16"
        )
    rows, width = header.shape
    offset = header.offset if isinstance(header, np.memmap) else 0
    return Bucket(path, keys_path, rows, width, header.dtype, offset)


@dataclass(frozen=True)
class Block:
    """Some neighbouring rows of a bucket.

    Attributes:
        bucket: The bucket.
        start: Its first row.
        stop: One after its last row.
    """

    bucket: Bucket
    start: int
    stop: int

    def read(self) -> Vectors:
        """Its rows, float32[stop - start, D]."""
        return self.bucket.read(self.start, self.stop)

    def read_checked(self) -> Vectors:
        """Its rows, once it is seen that they are what k-means takes.

        Raises:
            DataError: A row is not on the grid or not of length 1.
        """
        rows = self.read()
        good = is_on_grid(rows)
        if not good.all():
            first = int(np.flatnonzero(~good)[0])
            raise DataError(
                "the vector is not finite, not of length 1 or not a multiple of 2^-24; make the"
                " vectors again",
                file=str(self.bucket.path),
                row=self.start + first + 1,
            )
        return rows


class Points:
    """All vectors to cluster, in the order of their buckets.

    Args:
        buckets: At least one, of one width.

    Raises:
        InputError: There are no rows, more than float64 can sum without rounding, or vectors of
            different width.
    """

    def __init__(self, buckets: Sequence[Bucket]) -> None:
        self.buckets = tuple(buckets)
        self.rows = sum(bucket.rows for bucket in self.buckets)
        widths = {bucket.width for bucket in self.buckets}
        if self.rows == 0:
            raise InputError("there are no vectors to cluster: no medium could be read")
        if len(widths) != 1:
            raise InputError(f"vectors of different width cannot be clustered: {sorted(widths)}")
        if self.rows > MAX_ROWS:
            raise InputError(f"{self.rows} vectors are more than {MAX_ROWS}; take fewer sources")
        self.width = widths.pop()

    def blocks(self) -> list[Block]:
        """All rows as blocks, in order."""
        return [
            Block(bucket, start, min(start + BLOCK_ROWS, bucket.rows))
            for bucket in self.buckets
            for start in range(0, bucket.rows, BLOCK_ROWS)
        ]
