"""The reader of each format, by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Protocol

from mmrlhf_jobs.data import jsonl, parquet
from mmrlhf_jobs.data.blocks import BlockRows, ScannedBlock
from mmrlhf_jobs.data.sources import DataFile, FileFormat

__all__ = ["READERS", "Reader"]


class Reader(Protocol):
    """What a module for a format offers."""

    def scan_blocks(self, file: DataFile, digest: Any) -> Iterator[ScannedBlock]:  # noqa: ANN401 - hashlib names no type
        """Read a file from start to end, and feed its bytes to the digest."""

    def read_block(self, file: DataFile, start: int, stop: int) -> BlockRows:
        """Read one block."""


READERS: Final[dict[FileFormat, Reader]] = {"jsonl": jsonl, "parquet": parquet}
