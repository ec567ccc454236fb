"""What the readers of all formats give: blocks of rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from mmrlhf_jobs.data.parsing import RawRow

__all__ = ["BlockRows", "ScannedBlock"]


@dataclass(frozen=True)
class ScannedBlock:
    """A block met while a file is scanned.

    Attributes:
        start: Where it begins: byte offset (JSONL) or number of the row group (Parquet).
        stop: Where it ends, exclusive.
        size: Bytes in memory, uncompressed.
        rows: Its rows, to be taken before the next block is.
    """

    start: int
    stop: int
    size: int
    rows: Iterable[RawRow]


class BlockRows(Protocol):
    """The rows of a block in memory."""

    def row(self, index: int) -> RawRow:
        """Row at a 0-based index within the block."""
