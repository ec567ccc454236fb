"""Loading of images and of videos given as frames."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, Protocol, Self

from PIL import Image

from mmrlhf_jobs.data.decoding import MAX_PIXELS, UnreadableImageError, decode_image
from mmrlhf_jobs.data.records import Media, RowLocation
from mmrlhf_jobs.errors import DataError, InputError
from mmrlhf_jobs.storage.uris import StorageOptions, join_uri, locate, storage_errors

__all__ = ["HasMedia", "LoadedMedia", "MediaFinder", "load_image", "load_media"]

_LOOKUPS: Final = 16


@dataclass(frozen=True)
class LoadedMedia:
    """One medium in memory: a single RGB image, or the frames of a video in order."""

    kind: Literal["image", "frames"]
    frames: tuple[Image.Image, ...]


def load_image(
    uri: str,
    root: str,
    *,
    sha256: str | None = None,
    storage: StorageOptions | None = None,
) -> Image.Image:
    """Load an image as RGB, turned upright by its EXIF orientation.

    Transparency is dropped as ``convert("RGB")`` does, like the models' own processors; 16-bit
    grey is scaled to 8 bits; of an animation the first frame is taken.

    Args:
        uri: Absolute, or relative to ``root``.
        root: URI of the media folder.
        sha256: Digest that the file must have; None skips the check.
        storage: Where the object store is, for ``s3://``.

    Raises:
        DataError: The file is missing, is no readable image, is too large or has another digest.
    """
    try:
        full = join_uri(root, uri)
    except InputError as error:
        raise DataError(str(error)) from error
    location = locate(full, storage)
    try:
        with storage_errors(full, "read"):
            content = location.fs.cat_file(location.path)
    except InputError as error:
        raise DataError(str(error)) from error
    except Exception as error:
        if isinstance(error.__cause__, FileNotFoundError | IsADirectoryError):
            raise DataError(
                f"media file {full} does not exist; check the uri and mediaRoot"
            ) from error
        raise
    if sha256 is not None and (found := hashlib.sha256(content).hexdigest()) != sha256:
        raise DataError(
            f"media file {full} has sha256 {found}, the record says {sha256}; the file was changed"
            " or belongs to another record"
        )
    try:
        return decode_image(content, max_pixels=MAX_PIXELS).pixels
    except UnreadableImageError as error:
        raise DataError(f"media file {full} {error}") from error


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


def load_media(
    record: HasMedia, root: str, *, storage: StorageOptions | None = None
) -> tuple[LoadedMedia, ...]:
    """Load all media of a record, in order, and check their digests.

    Raises:
        DataError: As :func:`load_image`, with the record, its file and row, and the field.
    """
    return tuple(
        _load_medium(record, position, medium, root, storage)
        for position, medium in enumerate(record.media)
    )


class MediaFinder:
    """Tells which media files are missing, without reading them.

    Object stores are asked for many files at a time. The last answers are remembered, because
    records often share an image.

    Args:
        root: URI of the media folder.
        storage: Where the object store is, for ``s3://``.
    """

    def __init__(self, root: str, storage: StorageOptions | None = None) -> None:
        self._root = root
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
        local = locate(self._root, self._storage).is_local
        found = map(self._problem, uris) if local else self._pool.map(self._problem, uris)
        return {uri: why for uri, why in zip(uris, found, strict=True) if why is not None}

    def _look(self, uri: str) -> str | None:
        try:
            full = join_uri(self._root, uri)
            location = locate(full, self._storage)
            with storage_errors(full, "read"):
                if location.fs.isfile(location.path):
                    return None
        except InputError as error:
            return str(error)
        return f"media file {full} does not exist; check the uri and mediaRoot"


def _load_medium(
    record: HasMedia,
    position: int,
    medium: Media,
    root: str,
    storage: StorageOptions | None,
) -> LoadedMedia:
    frames = []
    for number, (uri, sha256) in enumerate(medium.files):
        try:
            frames.append(load_image(uri, root, sha256=sha256, storage=storage))
        except DataError as error:
            frame = f".frames[{number}]" if medium.kind == "video" else ""
            raise DataError(
                f"record {record.record_id!r}: {error.reason}",
                file=record.location.file,
                row=record.location.row,
                field=f"media[{position}]{frame}.uri",
            ) from error
    return LoadedMedia("frames" if medium.kind == "video" else "image", tuple(frames))
