"""Loading of images and of videos given as frames."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, Protocol, Self

from PIL import Image

from mmrlhf_jobs.data.decoding import MAX_PIXELS, UnreadableImageError, decode_image, to_rgb
from mmrlhf_jobs.data.media_bytes import UnusableFileError, check_local_file, read_media
from mmrlhf_jobs.data.media_folders import MediaFolders
from mmrlhf_jobs.data.records import Media, RowLocation
from mmrlhf_jobs.errors import DataError, InputError
from mmrlhf_jobs.storage.uris import StorageOptions, locate, storage_errors

__all__ = [
    "MAX_RATIO",
    "MAX_RECORD_PIXELS",
    "HasMedia",
    "LoadedMedia",
    "MediaFinder",
    "as_loaded",
    "check_media",
    "decode_image_file",
    "in_record",
    "load_image",
    "load_media",
    "read_image_file",
]

MAX_RECORD_PIXELS: Final = 1 << 30
"""Most pixels of all images and frames of a record together: 3 GiB as RGB, or 128 frames of 4K."""

MAX_RATIO: Final = 200
"""Longest side of an image in its shortest sides; above it the processors of Qwen2-VL and later
raise an error (``smart_resize`` in transformers)."""

_LOOKUPS: Final = 16


@dataclass(frozen=True)
class LoadedMedia:
    """One medium in memory: a single RGB image, or the frames of a video in order."""

    kind: Literal["image", "frames"]
    frames: tuple[Image.Image, ...]


def as_loaded(image: Image.Image) -> LoadedMedia:
    """A picture in memory, with the pixels that its file would be loaded with.

    Raises:
        DataError: Its pixels have no defined range, or its file is damaged.
    """
    try:
        return LoadedMedia("image", (to_rgb(image),))
    except (UnreadableImageError, OSError, ValueError) as error:
        raise DataError(f"the image {error}") from error


def load_image(
    uri: str,
    root: str | MediaFolders,
    *,
    sha256: str | None = None,
    storage: StorageOptions | None = None,
    max_pixels: int | None = None,
) -> Image.Image:
    """Load an image as RGB, turned upright by its EXIF orientation.

    What is transparent shows a white ground; 16-bit grey is scaled to 8 bits; of an animation the
    first frame is taken.

    Args:
        uri: Relative to ``root``, or absolute and below it.
        root: URI of the media folder, or all folders that media may be in.
        sha256: Digest that the file must have; None skips the check.
        storage: Where the object store is, for ``s3://``.
        max_pixels: Most pixels it may have; None is :data:`MAX_PIXELS`.

    Raises:
        DataError: The file is missing, lies elsewhere, is no readable image, is too large or has
            another digest.
    """
    full = MediaFolders.of(root).resolve(uri)
    content = read_image_file(full, sha256=sha256, storage=storage)
    return decode_image_file(full, content, max_pixels=max_pixels)


def read_image_file(
    full: str, *, sha256: str | None = None, storage: StorageOptions | None = None
) -> bytes:
    """The bytes of an image file.

    Args:
        full: Full URI, as :meth:`MediaFolders.resolve` gives it.
        sha256: Digest that the file must have; None skips the check.
        storage: Where the object store is, for ``s3://``.

    Raises:
        DataError: The file is missing, is no regular file, is too large or has another digest.
        StorageError: The store does not answer.
    """
    try:
        content = read_media(full, storage)
    except UnusableFileError as error:
        raise DataError(_tell(full, error)) from error
    except InputError as error:
        raise DataError(str(error)) from error
    if sha256 is not None and (found := hashlib.sha256(content).hexdigest()) != sha256:
        raise DataError(
            f"media file {full} has sha256 {found}, the record says {sha256}; the file was changed"
            " or belongs to another record"
        )
    return content


def decode_image_file(full: str, content: bytes, *, max_pixels: int | None = None) -> Image.Image:
    """Decode the bytes of an image file, as :func:`load_image` does.

    Raises:
        DataError: It is no readable image, or is too large.
    """
    try:
        return decode_image(content, max_pixels=max_pixels or MAX_PIXELS).pixels
    except UnreadableImageError as error:
        raise DataError(f"media file {full} {error}") from error


def _tell(full: str, error: UnusableFileError) -> str:
    hint = "; check the uri and mediaRoot" if error.reason == "missing-file" else ""
    return f"media file {full} {error}{hint}"


class HasMedia(Protocol):
    """A ranked record, or a query."""

    @property
    def record_id(self) -> str:
        """Its id, for messages."""

    @property
    def media(self) -> tuple[Media, ...]:
        """Its media."""

    @property
    def location(self) -> RowLocation:
        """Where it was read from, for messages."""


def in_record(
    record: HasMedia, error: DataError, field: str, fault: str = "undecodable"
) -> DataError:
    """The same error with the record that it is in: its id, file, row, the field, and the fault."""
    return DataError(
        f"record {record.record_id!r}: {error.reason}",
        file=record.location.file,
        row=record.location.row,
        field=field,
        fault=error.fault or fault,
    )


def load_media(
    record: HasMedia, root: str | MediaFolders, *, storage: StorageOptions | None = None
) -> tuple[LoadedMedia, ...]:
    """Load all media of a record, in order, and check their digests.

    Raises:
        DataError: As :func:`load_image`, with the record, its file and row, and the field; or all
            together have more than :data:`MAX_RECORD_PIXELS` pixels.
    """
    loaded: list[list[Image.Image]] = [[] for _ in record.media]
    for position, image in _images(record, root, storage):
        loaded[position].append(image)
    return tuple(
        LoadedMedia("frames" if medium.kind == "video" else "image", tuple(frames))
        for medium, frames in zip(record.media, loaded, strict=True)
    )


def check_media(
    record: HasMedia, root: str | MediaFolders, *, storage: StorageOptions | None = None
) -> None:
    """Decode all media of a record, one at a time, and keep none.

    Raises:
        DataError: As :func:`load_media`; or one is a strip, more than :data:`MAX_RATIO` times as
            long as it is wide.
    """
    for position, image in _images(record, root, storage):
        short, long = sorted(image.size)
        if long > MAX_RATIO * short:
            error = DataError(
                f"an image of {image.width} x {image.height} pixels is a strip that processors of"
                f" models refuse, more than {MAX_RATIO} times as long as wide; crop it"
            )
            raise in_record(record, error, f"media[{position}]")


def _images(
    record: HasMedia, root: str | MediaFolders, storage: StorageOptions | None
) -> Iterator[tuple[int, Image.Image]]:
    """Images and frames with the place of their medium."""
    left = MAX_RECORD_PIXELS
    for position, medium in enumerate(record.media):
        for number, (uri, sha256) in enumerate(medium.files):
            try:
                image = _load_within(left, uri, root, sha256=sha256, storage=storage)
            except DataError as error:
                frame = f".frames[{number}]" if medium.kind == "video" else ""
                raise in_record(record, error, f"media[{position}]{frame}.uri") from error
            left -= image.width * image.height
            yield position, image


def _load_within(
    left: int,
    uri: str,
    root: str | MediaFolders,
    *,
    sha256: str | None,
    storage: StorageOptions | None,
) -> Image.Image:
    if left >= MAX_PIXELS:
        return load_image(uri, root, sha256=sha256, storage=storage)
    try:
        return load_image(uri, root, sha256=sha256, storage=storage, max_pixels=max(left, 1))
    except DataError as error:
        cause = error.__cause__
        if not isinstance(cause, UnreadableImageError) or cause.reason != "too-large":
            raise
        raise DataError(
            f"{uri}: the media of the record up to this one have more than {MAX_RECORD_PIXELS}"
            " pixels together; take fewer or smaller ones"
        ) from error


class MediaFinder:
    """Tells which media files are missing, without reading them.

    Object stores are asked for many files at a time. The last answers are remembered, because
    records often share an image.

    Args:
        root: URI of the media folder, or all folders that media may be in.
        storage: Where the object store is, for ``s3://``.
    """

    def __init__(self, root: str | MediaFolders, storage: StorageOptions | None = None) -> None:
        self._folders = MediaFolders.of(root)
        self._storage = storage
        self._problem = lru_cache(maxsize=1 << 16)(self._look)
        self._pool = ThreadPoolExecutor(_LOOKUPS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def problems(self, uris: Sequence[str]) -> dict[str, str]:
        """Look files up.

        Returns:
            What is wrong with each URI that leads to no file.

        Raises:
            StorageError: The store does not answer.
        """
        local = locate(self._folders.root, self._storage).is_local
        found = map(self._problem, uris) if local else self._pool.map(self._problem, uris)
        return {uri: why for uri, why in zip(uris, found, strict=True) if why is not None}

    def _look(self, uri: str) -> str | None:
        try:
            full = self._folders.resolve(uri)
        except DataError as error:
            return error.reason
        missing = f"media file {full} does not exist; check the uri and mediaRoot"
        try:
            location = locate(full, self._storage)
            if location.is_local:
                check_local_file(location.path)
                return None
            with storage_errors(full, "read"):
                return None if location.fs.isfile(location.path) else missing
        except UnusableFileError as error:
            return _tell(full, error)
        except InputError as error:
            return str(error)
        except (OSError, ValueError):  # of a local file
            return missing
