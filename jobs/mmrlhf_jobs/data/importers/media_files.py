"""Media of pair formats: digests of images, frames of videos, images embedded in rows."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import Final

from mmrlhf_jobs.data.importers.raw_rows import RawPairRow
from mmrlhf_jobs.data.media_bytes import UnusableFileError, read_media
from mmrlhf_jobs.data.media_folders import MediaFolders
from mmrlhf_jobs.data.parts import Frame, Media
from mmrlhf_jobs.errors import DataError, InputError, StorageError
from mmrlhf_jobs.storage.uris import StorageOptions, join_uri, locate, storage_errors

__all__ = ["MediaFiles", "row_images"]

_IMAGES: Final = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


class MediaFiles:
    """Media files below one folder.

    Args:
        root: URI of the folder that the rows' paths start from.
        storage: Where the object store is, for ``s3://``.
    """

    def __init__(self, root: str, storage: StorageOptions | None = None) -> None:
        self._root = root
        self._folders = MediaFolders(root)
        self._storage = storage
        self._digest = lru_cache(maxsize=1 << 16)(self._read_digest)
        self._frames = lru_cache(maxsize=1 << 10)(self._read_frames)

    def image(self, path: str, row: RawPairRow, field: str) -> Media:
        """An image file with its digest.

        Raises:
            DataError: It does not exist.
        """
        try:
            return Media(uri=path, sha256=self._digest(path))
        except (InputError, StorageError) as error:
            raise row.error(field, _reason(error)) from error

    def video(self, path: str, row: RawPairRow, field: str) -> Media:
        """A folder of frames, in the natural order of their names: 2 comes before 10.

        Raises:
            DataError: It does not exist or holds no images.
        """
        try:
            return Media(kind="video", uri=path, frames=self._frames(path))
        except (InputError, StorageError) as error:
            raise row.error(field, _reason(error)) from error

    def embedded(self, content: bytes, name: str | None) -> Media:
        """An image embedded in a row, saved as ``embedded/<digest>`` below the folder.

        Raises:
            StorageError: The folder cannot be written.
        """
        digest = hashlib.sha256(content).hexdigest()
        suffix = next((end for end in _IMAGES if (name or "").lower().endswith(end)), "")
        path = f"embedded/{digest}{suffix}"
        full = join_uri(self._root, path)
        location = locate(full, self._storage)
        with storage_errors(full, "write"):
            if location.is_local:
                location.fs.makedirs(location.path.rpartition("/")[0], exist_ok=True)
            location.fs.pipe_file(location.path, content)
        return Media(uri=path, sha256=digest)

    def _read_digest(self, path: str) -> str:
        full = self._folders.resolve(path)
        try:
            return hashlib.sha256(read_media(full, self._storage)).hexdigest()
        except UnusableFileError as error:
            if error.reason == "missing-file":
                raise DataError(
                    f"media file does not exist ({error.__cause__ or error}); check the path and"
                    " the media root"
                ) from error
            raise DataError(f"media file {full} {error}") from error

    def _read_frames(self, path: str) -> tuple[Frame, ...]:
        full = self._folders.resolve(path)
        location = locate(full, self._storage)
        with storage_errors(full, "read"):
            found = [str(name) for name in location.fs.ls(location.path, detail=False)]
        names = [name.rstrip("/").rpartition("/")[2] for name in found]
        images = sorted((n for n in names if n.lower().endswith(_IMAGES)), key=_natural)
        if not images:
            raise DataError(f"{full} must be a folder of frame images, and it holds none")
        uris = [f"{path.rstrip('/')}/{name}" for name in images]
        return tuple(Frame(uri=uri, sha256=self._digest(uri)) for uri in uris)


def row_images(row: RawPairRow, media: MediaFiles) -> tuple[Media, ...]:
    """The images of a row: paths, or ``{"path", "bytes"}`` as ``datasets`` writes them.

    Raises:
        DataError: There are none, or one of them is something else or does not exist.
    """
    name = "images" if "images" in row.fields else "image"
    value = row.fields.get(name)
    images = value if isinstance(value, list) else [value]
    if not any(images):
        raise row.error(name, "a record needs at least one image")
    found = []
    for position, image in enumerate(images):
        field = f"{name}[{position}]"
        if isinstance(image, str):
            found.append(media.image(image, row, field))
        elif isinstance(image, dict) and isinstance(image.get("bytes"), bytes):
            found.append(media.embedded(image["bytes"], image.get("path")))
        elif isinstance(image, dict) and isinstance(image.get("path"), str):
            found.append(media.image(image["path"], row, field))
        else:
            raise row.error(field, "must be a path or {path, bytes}")
    return tuple(found)


def _natural(name: str) -> list[tuple[int, str]]:
    return [
        (int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)
    ]


def _reason(error: Exception) -> str:
    if isinstance(error.__cause__, FileNotFoundError):
        return f"media file does not exist ({error}); check the path and the media root"
    return str(error)
