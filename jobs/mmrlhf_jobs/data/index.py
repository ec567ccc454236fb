"""The block index: where the rows of a source are, found by one scan.

It holds some forty bytes a block (about 1 MiB of JSONL, or a row group), so its size does not
depend on the number of rows but on the number of bytes divided by a million.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from mmrlhf_jobs.data.order import keyed_permutation
from mmrlhf_jobs.errors import DataError

__all__ = ["BlockIndex", "IndexedFile"]

Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True)
class IndexedFile:
    """A file as it was when it was scanned.

    Attributes:
        name: Without its folder, so that a moved data set keeps its digest.
        size: Bytes.
        sha256: Digest of its content, 64 hexadecimal digits.
    """

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, eq=False)
class BlockIndex:
    """Blocks of all files in order, B of them, and the rows that are not used.

    Attributes:
        files: The files.
        table: int64[B, 6]: number of the file, start, stop, bytes in memory, number of the first
            row in its file (1-based), and number of rows.
        skipped: Ordinals (0-based over all files) of rows that are blank or invalid, sorted.
    """

    files: tuple[IndexedFile, ...]
    table: Int64Array
    skipped: Int64Array

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def starts(self) -> Int64Array:
        """Ordinal of each block's first row, and the total at the end, int64[B + 1]."""
        starts: Int64Array = np.zeros(len(self.table) + 1, np.int64)
        np.cumsum(self.table[:, 5], out=starts[1:])
        return starts

    @cached_property
    def usable(self) -> Int64Array:
        """Number of rows of each block that are used, int64[B]."""
        skips = np.searchsorted(self.skipped, self.starts)
        return self.table[:, 5] - np.diff(skips)

    @property
    def num_records(self) -> int:
        """Number of rows that are used."""
        return int(self.usable.sum())

    @property
    def digest(self) -> str:
        """Digest of the names, sizes and contents of all files, 64 hexadecimal digits."""
        content = json.dumps([asdict(file) for file in self.files], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

    @property
    def selection_digest(self) -> str:
        """Digest of which rows are used, 64 hexadecimal digits."""
        return hashlib.sha256(self.skipped.tobytes()).hexdigest()

    def sampled(self, fraction: float, *, seed: int) -> BlockIndex:
        """The index with a uniform sample of its usable rows, the same for every process.

        A larger fraction keeps the rows of a smaller one. The sample is in the index alone: the
        digest stays that of the files.

        Args:
            fraction: Share of the usable rows to keep, in (0, 1]; at least one row is kept.
            seed: Seed of the sample.
        """
        if fraction >= 1.0:
            return self
        usable = np.delete(np.arange(self.starts[-1]), self.skipped)
        order = keyed_permutation(len(usable), "sample", seed)
        left_out = usable[order[max(1, round(fraction * len(usable))) :]]
        return replace(self, skipped=np.sort(np.r_[self.skipped, left_out]))

    def usable_rows(self, block: int) -> Int64Array:
        """Rows of a block that are used, as 0-based indices within the block."""
        first, last = np.searchsorted(self.skipped, self.starts[block : block + 2])
        rows = np.arange(self.table[block, 5])
        return np.delete(rows, self.skipped[first:last] - self.starts[block])

    def locate(self, ordinal: int) -> tuple[int, int]:
        """Number of the file and 1-based row in it of the row with this ordinal."""
        block = int(np.searchsorted(self.starts, ordinal, side="right")) - 1
        number, first_row = self.table[block, [0, 4]]
        return int(number), int(first_row + ordinal - self.starts[block])

    def ordinal(self, number: int, row: int) -> int:
        """Ordinal of the 1-based row of the file with this number; the other way of `locate`."""
        blocks = np.flatnonzero(self.table[:, 0] == number)
        place = int(np.searchsorted(self.table[blocks, 4], row, side="right")) - 1
        block = int(blocks[place])
        return int(self.starts[block] + row - self.table[block, 4])

    def without(self, ordinals: Sequence[int]) -> BlockIndex:
        """The index without these rows."""
        left_out = np.union1d(self.skipped, np.array(sorted(ordinals), np.int64))
        return replace(self, skipped=left_out.astype(np.int64))

    def to_bytes(self) -> bytes:
        """The index as bytes, for the other processes of a job: one scan serves all."""
        buffer = io.BytesIO()
        files = json.dumps([asdict(file) for file in self.files])
        np.savez(
            buffer,
            files=np.frombuffer(files.encode(), np.uint8),
            table=self.table,
            skipped=self.skipped,
        )
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> BlockIndex:
        """The index that :meth:`to_bytes` wrote.

        Raises:
            DataError: The bytes are something else.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                files = json.loads(arrays["files"].tobytes())
                return cls(
                    tuple(IndexedFile(**file) for file in files), arrays["table"], arrays["skipped"]
                )
        except (KeyError, OSError, TypeError, ValueError, RecursionError) as error:
            raise DataError(f"these bytes are no block index: {error}") from error
