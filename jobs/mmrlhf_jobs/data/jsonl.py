"""Rows of JSON as blocks of whole lines, about 1 MiB each.

A file is lines of JSON or one JSON array, compressed or not. Whatever it is, it is read as lines:
an array as one line an element. Blocks are places in those lines, so where they are not the file's
own bytes, a copy of the lines is kept in the temporary folder for as long as the process lives.
"""

from __future__ import annotations

import atexit
import codecs
import tempfile
from collections.abc import Iterator
from typing import IO, Any, Final

from mmrlhf_jobs.data.blocks import BlockRows, ScannedBlock
from mmrlhf_jobs.data.json_arrays import MAX_ROW_BYTES, split_array
from mmrlhf_jobs.data.plain_bytes import packing_of, read_plain
from mmrlhf_jobs.data.sources import DataFile
from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.storage.uris import storage_errors

__all__ = ["BLOCK_BYTES", "MAX_LINE_BYTES", "read_block", "read_lines", "scan_blocks"]

BLOCK_BYTES: Final = 1 << 20
"""Size of a block, up to the line that ends in it. It is part of the order of an epoch: another
size gives another order, and a checkpoint could not be resumed."""

MAX_LINE_BYTES: Final = MAX_ROW_BYTES

_copies: dict[tuple[str, int], IO[bytes]] = {}


def scan_blocks(file: DataFile, digest: Any) -> Iterator[ScannedBlock]:  # noqa: ANN401 - hashlib names no type
    """Read a file once, from start to end.

    Args:
        file: The file.
        digest: A ``hashlib`` object, fed with all bytes.

    Yields:
        Blocks; the rows of one are bytes, blank lines included.

    Raises:
        DataError: A line is too long to be one, or the file is damaged.
        StorageError: The store does not answer.
    """
    offset = 0
    pending = b""
    for chunk in _lines_of(file, digest):
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
        yield ScannedBlock(offset, offset + len(block), len(block), _lines(block, offset))
        offset += len(block)
    if pending:
        yield ScannedBlock(offset, offset + len(pending), len(pending), _lines(pending, offset))


def read_lines(file: DataFile, digest: Any) -> Iterator[tuple[int, bytes]]:  # noqa: ANN401 - hashlib names no type
    """Lines and their 1-based numbers; blank ones are counted and passed over.

    Raises:
        DataError: As :func:`scan_blocks`.
        StorageError: The store does not answer.
    """
    number = 0
    for block in scan_blocks(file, digest):
        for line in block.rows:
            number += 1
            assert isinstance(line, bytes)
            if line.strip():
                yield number, line


def read_block(file: DataFile, start: int, stop: int) -> BlockRows:
    """Read the lines between two byte offsets that :func:`scan_blocks` gave."""
    if file.is_array or packing_of(file.uri):
        copy = _copy_of(file)
        copy.seek(start)
        block = copy.read(stop - start)
    else:
        with storage_errors(file.uri, "read"):
            block = file.location.fs.cat_file(file.location.path, start=start, end=stop)
    if len(block) != stop - start:
        raise DataError("became shorter while it was used", file=file.uri)
    return _Lines(_lines(block, start))


class _Lines:
    def __init__(self, lines: list[bytes]) -> None:
        self._lines = lines

    def row(self, index: int) -> bytes:
        return self._lines[index]


def _lines_of(file: DataFile, digest: Any) -> Iterator[bytes]:  # noqa: ANN401 - hashlib names no type
    """The file as lines, in pieces of about a block."""
    chunks = read_plain(file.location, file.uri, digest, size=BLOCK_BYTES)
    if not file.is_array:
        yield from chunks
        return
    pending = bytearray()
    for element in split_array(chunks, file.uri):
        pending += element + b"\n"
        if len(pending) >= BLOCK_BYTES:
            yield bytes(pending)
            pending.clear()
    if pending:
        yield bytes(pending)


def _copy_of(file: DataFile) -> IO[bytes]:
    key = (file.uri, file.size)
    if key not in _copies:
        with storage_errors(tempfile.gettempdir(), "write"):
            copy = tempfile.TemporaryFile(prefix="mmrlhf-lines-")  # noqa: SIM115 - it stays open
            atexit.register(copy.close)
            for chunk in _lines_of(file, None):
                copy.write(chunk)
        _copies[key] = copy
    return _copies[key]


def _lines(block: bytes, start: int) -> list[bytes]:
    """Lines of a block that starts at this offset; a byte order mark is no part of the first."""
    if start == 0:
        block = block.removeprefix(codecs.BOM_UTF8)
    lines = block.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return lines
