"""JSONL files as blocks of whole lines, about 1 MiB each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from mmrlhf_jobs.data.blocks import BlockRows, ScannedBlock
from mmrlhf_jobs.data.sources import DataFile
from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.storage.uris import storage_errors

__all__ = ["BLOCK_BYTES", "MAX_LINE_BYTES", "read_block", "scan_blocks"]

BLOCK_BYTES: Final = 1 << 20
"""Size of a block, up to the line that ends in it. It is part of the order of an epoch: another
size gives another order, and a checkpoint could not be resumed."""

MAX_LINE_BYTES: Final = 64 << 20
"""A longer line is no record, but some other file taken for one."""


def scan_blocks(file: DataFile, digest: Any) -> Iterator[ScannedBlock]:  # noqa: ANN401 - hashlib names no type
    """Read a file once, from start to end.

    Args:
        file: The file.
        digest: A ``hashlib`` object, fed with all bytes.

    Yields:
        Blocks; the rows of one are bytes, blank lines included.
    """
    offset = 0
    pending = b""
    with storage_errors(file.uri, "read"), file.location.fs.open(file.location.path, "rb") as data:
        while chunk := data.read(BLOCK_BYTES):
            digest.update(chunk)
            cut = chunk.rfind(b"\n") + 1
            if cut == 0:
                pending += chunk
                if len(pending) > MAX_LINE_BYTES:
                    raise DataError(
                        f"a line is longer than {MAX_LINE_BYTES >> 20} MiB; is this a JSONL file?",
                        file=file.uri,
                    )
                continue
            block = pending + chunk[:cut]
            pending = chunk[cut:]
            yield ScannedBlock(offset, offset + len(block), len(block), _lines(block))
            offset += len(block)
    if pending:
        yield ScannedBlock(offset, offset + len(pending), len(pending), _lines(pending))


def read_block(file: DataFile, start: int, stop: int) -> BlockRows:
    """Read the lines between two byte offsets that :func:`scan_blocks` gave."""
    with storage_errors(file.uri, "read"):
        block: bytes = file.location.fs.cat_file(file.location.path, start=start, end=stop)
    if len(block) != stop - start:
        raise DataError("became shorter while it was used", file=file.uri)
    return _Lines(_lines(block))


class _Lines:
    def __init__(self, lines: list[bytes]) -> None:
        self._lines = lines

    def row(self, index: int) -> bytes:
        return self._lines[index]


def _lines(block: bytes) -> list[bytes]:
    lines = block.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return lines
