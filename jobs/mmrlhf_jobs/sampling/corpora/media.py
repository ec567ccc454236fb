"""Where the bytes of images and videos are, and reading them.

A medium is a file of its own, a member of a tar shard, or a value in a column of a Parquet file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from mmrlhf_jobs.data.media_bytes import (
    MAX_FILE_BYTES,
    FileReason,
    UnusableFileError,
    read_media,
)
from mmrlhf_jobs.errors import InputError, StorageError
from mmrlhf_jobs.storage.uris import Location, StorageOptions, locate, storage_errors

__all__ = [
    "MEDIA_KINDS",
    "MEDIA_TYPE",
    "DroppedMedia",
    "MediaKind",
    "MediaReader",
    "MediaReason",
    "MediaRef",
]

MediaKind: TypeAlias = Literal["image", "video"]
MediaReason: TypeAlias = Literal[FileReason, "short-file", "empty-file"]
"""Why the bytes of a medium cannot be had."""

MEDIA_TYPE: Final = pa.struct(
    [
        pa.field("uri", pa.string(), nullable=False),
        pa.field("member", pa.string()),
        pa.field("offset", pa.int64()),
        pa.field("size", pa.int64()),
        pa.field("column", pa.string()),
        pa.field("row", pa.int64()),
        pa.field("kind", pa.string(), nullable=False),
    ]
)
"""Arrow type of a :class:`MediaRef`."""

# fmt: off
_IMAGES: Final = (
    "jpg", "jpeg", "jpe", "jfif", "png", "apng", "webp", "bmp", "gif", "tif", "tiff", "avif",
    "heic", "heif", "jp2", "j2k", "jpx", "ppm", "pgm", "pbm", "pnm", "mpo",
)
_VIDEOS: Final = (
    "mp4", "webm", "mkv", "avi", "mov", "m4v", "mpg", "mpeg", "wmv", "flv", "ogv", "3gp",
)
# fmt: on

MEDIA_KINDS: Final[Mapping[str, MediaKind]] = {
    **dict.fromkeys(_IMAGES, "image"),
    **dict.fromkeys(_VIDEOS, "video"),
}
"""Ends of the names of media. Whether a file can be decoded is told when it is: what is none is a
fault that is counted, and not passed over."""

_OPEN_FILES: Final = 8

_MOST_BYTES: Final[Mapping[MediaKind, int]] = {"image": MAX_FILE_BYTES, "video": 2 << 30}
"""Larger media are left out: a medium is read as a whole."""


@dataclass(frozen=True, slots=True)
class MediaRef:
    """Where a medium is.

    Attributes:
        uri: Absolute URI of the file: the medium itself, or what holds it.
        member: Name of the tar member, for people.
        offset: First byte of the tar member's content in the file.
        size: Bytes of the tar member's content.
        column: Path of the bytes in a Parquet row, such as ``image.bytes`` or ``images.0.bytes``.
        row: 0-based row of the Parquet file.
        kind: What the bytes are.
    """

    uri: str
    member: str | None = None
    offset: int | None = None
    size: int | None = None
    column: str | None = None
    row: int | None = None
    kind: MediaKind = "image"

    def __str__(self) -> str:
        """For messages."""
        if self.member is not None:
            return f"{self.uri}, member {self.member}"
        if self.column is not None:
            return f"{self.uri}, row {(self.row or 0) + 1}, {self.column}"
        return self.uri

    def as_row(self) -> dict[str, str | int | None]:
        """The reference as a value of :data:`MEDIA_TYPE`."""
        return {field.name: getattr(self, field.name) for field in MEDIA_TYPE}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> MediaRef:
        """The reference that a row of a part holds; other columns are passed over."""
        return cls(**{field.name: row[field.name] for field in MEDIA_TYPE})


class DroppedMedia(Exception):  # noqa: N818 - no end of the job: counted, and held against a budget
    """A medium that cannot be used, and why.

    Args:
        reason: One word of a closed set, for counts and budgets.
        message: For people.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message)
        self.reason = reason
        self.message = message


class MediaReader:
    """Reads the bytes of media; may be handed to other processes.

    A value in a Parquet file costs reading its column in its row group, and the last one is kept:
    media are best read in the order of the file.

    Args:
        storage: Where the object store is, for ``s3://``.
    """

    def __init__(self, storage: StorageOptions | None = None) -> None:
        self._storage = storage
        self._parquet = lru_cache(maxsize=_OPEN_FILES)(self._open_parquet)
        self._last: tuple[tuple[str, str, int], pa.ChunkedArray] | None = None

    def __reduce__(self) -> tuple[type[MediaReader], tuple[StorageOptions | None]]:
        """Another process opens its own files."""
        return MediaReader, (self._storage,)

    def read(self, ref: MediaRef) -> bytes:
        """All bytes of a medium.

        Raises:
            DroppedMedia: They are not there.
            StorageError: The store does not answer.
        """
        try:
            if ref.column is None and (ref.offset is None or ref.size is None):
                content = read_media(ref.uri, self._storage, most=_MOST_BYTES[ref.kind])
            else:
                location = locate(ref.uri, self._storage)
                with storage_errors(ref.uri, "read"):
                    content = self._bytes(ref, location)
        except UnusableFileError as error:
            raise DroppedMedia(error.reason, f"{ref}: {error}") from error
        except InputError as error:
            raise DroppedMedia("forbidden-file", str(error)) from error
        except StorageError as error:
            if isinstance(error.__cause__, FileNotFoundError | IsADirectoryError):
                raise DroppedMedia("missing-file", f"{ref}: does not exist") from error
            raise
        if not content:
            raise DroppedMedia("empty-file", f"{ref}: has no bytes")
        return content

    def read_same(self, ref: MediaRef, sha256: bytes | None) -> bytes:
        """All bytes of a medium that was read before, which must be the same.

        Raises:
            DroppedMedia: They are not there any more, or others are.
            StorageError: The store does not answer.
        """
        content = self.read(ref)
        if hashlib.sha256(content).digest() != sha256:
            raise DroppedMedia("changed-file", f"{ref}: has other bytes now")
        return content

    def _bytes(self, ref: MediaRef, location: Location) -> bytes:
        if ref.column is not None:
            return self._parquet_value(ref)
        start, size = ref.offset or 0, ref.size or 0
        if size == 0:
            return b""
        if size > _MOST_BYTES[ref.kind]:
            raise DroppedMedia(
                "too-large", f"{ref}: {size} bytes, more than {_MOST_BYTES[ref.kind]}"
            )
        part: bytes = location.fs.cat_file(location.path, start=start, end=start + size)
        if len(part) != size:
            raise DroppedMedia(
                "short-file", f"{ref}: {len(part)} bytes are there, {size} were announced"
            )
        return part

    def _parquet_value(self, ref: MediaRef) -> bytes:
        file = self._parquet(ref.uri)
        name, *path = (ref.column or "").split(".")
        row, group = ref.row or 0, 0
        while row >= (rows := file.metadata.row_group(group).num_rows):
            row -= rows
            group += 1
        key = (ref.uri, name, group)
        if self._last is None or self._last[0] != key:
            self._last = None  # before the next is read: two would take twice the memory
            self._last = (key, file.read_row_group(group, columns=[name]).column(0))
        value: Any = self._last[1].slice(row, 1).to_pylist()[0]
        for step in path:
            value = value[int(step)] if isinstance(value, list) else value[step]
        content: bytes = value
        return content

    def _open_parquet(self, uri: str) -> pq.ParquetFile:
        location = locate(uri, self._storage)
        return pq.ParquetFile(location.fs.open(location.path, "rb"))
