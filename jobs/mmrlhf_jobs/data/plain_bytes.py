"""The bytes of a text file as they were before it was compressed."""

from __future__ import annotations

import bz2
import codecs
import gzip
import lzma
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any, Final

import pyarrow as pa

from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.storage.uris import Location, storage_errors

__all__ = ["PACKINGS", "packing_of", "read_plain"]

_PACKED: Final = (
    (b"\x1f\x8b", "a .gz file; name it so"),
    (b"BZh", "a .bz2 file; name it so"),
    (b"\xfd7zXZ\x00", "a .xz file; name it so"),
    (b"\x28\xb5\x2f\xfd", "a .zst file; name it so"),
    (b"PK\x03\x04", "a .zip file; unpack it"),
    (b"PAR1", "a .parquet file; name it so"),
)
_UTF16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def _unpack_zstandard(file: IO[bytes]) -> Any:  # noqa: ANN401 - a stream of Arrow's
    return pa.CompressedInputStream(pa.PythonFile(file, mode="r"), "zstd")


_OPENERS: Final[Mapping[str, Callable[[IO[bytes]], Any]]] = {
    ".gz": lambda file: gzip.GzipFile(fileobj=file),
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
    ".zst": _unpack_zstandard,
}

PACKINGS: Final = tuple(_OPENERS)
"""Ends of names of compressed files that are read."""

_DAMAGED: Final = (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile)


def packing_of(name: str) -> str:
    """The end of a name that says how the file is compressed; empty if none does."""
    return next((end for end in PACKINGS if name.lower().endswith(end)), "")


def _packed(start: bytes) -> str | None:
    """What a file is by its first bytes, and what to do, if it is no text."""
    return next((kind for magic, kind in _PACKED if start.startswith(magic)), None)


def read_plain(
    location: Location,
    uri: str,
    digest: Any = None,  # noqa: ANN401 - hashlib names no type
    *,
    size: int = 1 << 20,
) -> Iterator[bytes]:
    """Read a file from start to end.

    Args:
        location: Where it is.
        uri: The same for messages; its end says whether it is compressed.
        digest: A ``hashlib`` object, fed with all bytes as they are stored; None: nothing is.
        size: Bytes of a piece.

    Yields:
        Pieces, unpacked, all of that size but the last.

    Raises:
        DataError: It is no compressed file, is cut off, is text in UTF-16, or is packed by another
            program than its name says.
        StorageError: The store does not answer.
    """
    with storage_errors(uri, "read"), location.fs.open(location.path, "rb") as file:
        fed = _Fed(file, digest)
        first = True
        for chunk in _unpacked(fed, uri, size):
            if first and chunk.startswith(_UTF16):
                raise DataError("is text in UTF-16; save it in UTF-8", file=uri)
            if first and (kind := _packed(chunk)):
                raise DataError(f"its bytes are those of {kind}", file=uri)
            first = False
            yield chunk
        while fed.read(size):  # what follows the end of the compressed bytes
            pass


def _unpacked(file: _Fed, uri: str, size: int) -> Iterator[bytes]:
    packing = packing_of(uri)
    try:
        stream: Any = _OPENERS[packing](file) if packing else file  # type: ignore[arg-type]
        while chunk := _whole(stream, size):
            yield chunk
    except (*_DAMAGED, OSError) as error:
        # Decompressors say OSError without a number for damage; a real one has a number.
        if not isinstance(error, _DAMAGED) and (error.errno is not None or not packing):
            raise
        raise DataError(
            f"cannot be unpacked as {packing}: {error}; it is cut off or damaged", file=uri
        ) from error


def _whole(stream: Any, size: int) -> bytes:  # noqa: ANN401 - any that reads
    """So many bytes, though the stream may give them bit by bit; fewer at its end."""
    content: bytes = stream.read(size)
    while 0 < len(content) < size and (more := stream.read(size - len(content))):
        content += more
    return content


class _Fed:
    """A file that feeds a digest with all that is read of it, once."""

    closed = False

    def __init__(self, file: Any, digest: Any) -> None:  # noqa: ANN401 - see above
        self._file = file
        self._digest = digest

    def read(self, size: int = -1) -> bytes:
        content: bytes = self._file.read(size)
        if self._digest is not None:
            self._digest.update(content)
        return content

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False
