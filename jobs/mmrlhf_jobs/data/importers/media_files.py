"""Media of pair formats: digests of images, frames of videos, images embedded in rows."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeAlias

from mmrlhf_jobs.data.importers.raw_rows import RawPairRow, unpacked
from mmrlhf_jobs.data.media_bytes import UnusableFileError, read_media
from mmrlhf_jobs.data.media_folders import MediaFolders
from mmrlhf_jobs.data.parts import Frame, Media
from mmrlhf_jobs.data.row_faults import RowFault
from mmrlhf_jobs.errors import DataError, InputError, StorageError
from mmrlhf_jobs.storage.uris import (
    StorageOptions,
    join_uri,
    locate,
    parent_uri,
    storage_errors,
)

__all__ = ["MediaFiles", "Still", "VideoFrames", "read_image", "row_images", "row_videos"]

_VIDEOS: Final = (".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv")
_IMAGES: Final = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


@dataclass(frozen=True)
class Still:
    """A frame of a video file.

    Attributes:
        content: A JPEG file.
        pts_ms: When it is shown, in milliseconds.
    """

    content: bytes
    pts_ms: float | None


VideoFrames: TypeAlias = Callable[[bytes], Sequence[Still]]
"""Frames of a video file, in the order they are shown; raises ``DataError`` if it has none."""


class MediaFiles:
    """Media files below one folder.

    Attributes:
        decoded_videos: Video files that were decoded so far.
        written: Bytes of each file that was written so far, by its path.

    Args:
        root: URI of the folder that the rows' paths start from.
        storage: Where the object store is, for ``s3://``.
        save: Save images that are embedded in rows; False only looks at them.
        video_frames: Decodes video files; None: they are at fault.
        copies: Folder beside the records that all media are copied into, which are then named from
            its parent; None: they stay, and ``embedded`` below the root takes what rows bring.
    """

    def __init__(
        self,
        root: str,
        storage: StorageOptions | None = None,
        *,
        save: bool = True,
        video_frames: VideoFrames | None = None,
        copies: str | None = None,
    ) -> None:
        self.decoded_videos = 0
        self.written: dict[str, int] = {}
        self._copies = copies is not None
        self._base = root if copies is None else parent_uri(copies)
        self._own = "embedded" if copies is None else copies.rstrip("/").rpartition("/")[2]
        self._video_frames = video_frames
        self._save = save
        self._folders = MediaFolders(root)
        self._storage = storage
        self._file = lru_cache(maxsize=1 << 16)(self._read_file)
        self._video = lru_cache(maxsize=1 << 10)(self._read_video)

    def image(self, path: str, row: RawPairRow, field: str) -> Media:
        """An image file with its digest.

        Raises:
            DataError: It does not exist.
        """
        try:
            uri, digest = self._file(path)
            return Media(uri=uri, sha256=digest)
        except (InputError, StorageError) as error:
            raise _fault(row, field, error) from error

    def video(self, path: str, row: RawPairRow, field: str) -> Media:
        """A folder of frames, in the natural order of their names: 2 comes before 10.

        A video file is decoded, and its frames are saved as ``<digest>-<frames>/*.jpg``.

        Raises:
            DataError: It does not exist, or holds no images.
        """
        try:
            return self._video(path)
        except (InputError, StorageError) as error:
            raise _fault(row, field, error) from error

    def frames(self, paths: Sequence[str], row: RawPairRow, field: str) -> Media:
        """A video given as the list of its frames.

        Raises:
            RowFault: One of them does not exist.
        """
        try:
            frames = tuple(map(self._frame, paths))
        except (InputError, StorageError) as error:
            raise _fault(row, field, error) from error
        return Media(kind="video", frames=frames)

    def embedded(self, content: bytes, name: str | None) -> Media:
        """An image embedded in a row, saved by the name of its digest.

        Raises:
            StorageError: The folder cannot be written.
        """
        digest = hashlib.sha256(content).hexdigest()
        suffix = next((end for end in _IMAGES if (name or "").lower().endswith(end)), "")
        path = f"{self._own}/{digest}{suffix}"
        self._keep(path, content)
        return Media(uri=path, sha256=digest)

    def _keep(self, path: str, content: bytes) -> None:
        if not self._save:
            return
        self.written[path] = len(content)
        full = join_uri(self._base, path)
        location = locate(full, self._storage)
        with storage_errors(full, "write"):
            if location.is_local:
                location.fs.makedirs(location.path.rpartition("/")[0], exist_ok=True)
            location.fs.pipe_file(location.path, content)

    def _frame(self, path: str) -> Frame:
        uri, digest = self._file(path)
        return Frame(uri=uri, sha256=digest)

    def _read_file(self, path: str) -> tuple[str, str]:
        """How records name an image file, and its digest."""
        content = self._read(path)
        if self._copies:
            copy = self.embedded(content, path)
            return copy.uri or "", copy.sha256 or ""
        return path, hashlib.sha256(content).hexdigest()

    def _read(self, path: str) -> bytes:
        full = self._folders.resolve(path)
        try:
            return read_media(full, self._storage)
        except UnusableFileError as error:
            if error.reason == "missing-file":
                raise DataError(
                    f"media file does not exist ({error.__cause__ or error}); check the path and"
                    " the media root"
                ) from error
            raise DataError(f"media file {full} {error}") from error

    def _read_video(self, path: str) -> Media:
        if not path.lower().endswith(_VIDEOS):
            return Media(kind="video", uri=path, frames=self._read_frames(path))
        if self._video_frames is None:
            raise DataError(
                f"{self._folders.resolve(path)} is a video file, and records hold frames: write its"
                f" frames into a folder (ffmpeg -i {path} FOLDER/%05d.jpg) and name that"
            )
        content = self._read(path)
        stills = self._video_frames(content)
        digest = hashlib.sha256(content).hexdigest()
        frames = []
        for number, still in enumerate(stills, 1):
            uri = f"{self._own}/{digest}-{len(stills)}/{number:05d}.jpg"
            self._keep(uri, still.content)
            own = hashlib.sha256(still.content).hexdigest()
            frames.append(Frame(uri=uri, sha256=own, pts_ms=still.pts_ms))
        self.decoded_videos += 1
        return Media(kind="video", uri=path, sha256=digest, frames=tuple(frames))

    def _read_frames(self, path: str) -> tuple[Frame, ...]:
        full = self._folders.resolve(path)
        location = locate(full, self._storage)
        with storage_errors(full, "read"):
            found = [str(name) for name in location.fs.ls(location.path, detail=False)]
        names = [name.rstrip("/").rpartition("/")[2] for name in found]
        images = sorted((n for n in names if n.lower().endswith(_IMAGES)), key=_natural)
        if not images:
            raise DataError(f"{full} must be a folder of frame images, and it holds none")
        return tuple(self._frame(f"{path.rstrip('/')}/{name}") for name in images)


def row_images(row: RawPairRow, media: MediaFiles, *, required: bool = True) -> tuple[Media, ...]:
    """The images of a row: paths, raw bytes, or ``{"path", "bytes"}`` as ``datasets`` writes them.

    Args:
        row: The row; its images are in ``images`` or ``image``.
        media: Where files are.
        required: False where a row may be about no image.

    Raises:
        RowFault: There are none, or one of them is something else or does not exist.
    """
    name = "images" if "images" in row.fields else "image"
    value = unpacked(row.fields.get(name))
    images = value if isinstance(value, list) else [value]
    if not any(images):
        if not required:
            return ()
        raise row.error(name, "a record needs at least one image", "media")
    return tuple(
        read_image(row, media, image, f"{name}[{position}]")
        for position, image in enumerate(images)
    )


def read_image(row: RawPairRow, media: MediaFiles, image: Any, field: str) -> Media:  # noqa: ANN401 - any JSON
    """One image, in any of the forms that data sets give.

    Raises:
        RowFault: It is something else or does not exist.
    """
    if isinstance(image, str) and image.startswith("data:"):
        return media.embedded(_decoded(row, image, field), None)
    if isinstance(image, str) and image.strip():
        return media.image(image, row, field)
    if isinstance(image, bytes):
        return media.embedded(image, None)
    if isinstance(image, dict) and isinstance(image.get("bytes"), bytes):
        return media.embedded(image["bytes"], image.get("path"))
    if isinstance(image, dict) and isinstance(image.get("path"), str):
        return media.image(image["path"], row, field)
    raise row.error(field, "must be a path, bytes or {path, bytes}", "media")


def row_videos(row: RawPairRow, media: MediaFiles) -> tuple[Media, ...]:
    """The videos of a row, in ``videos`` or ``video``: folders of frames, or lists of frames.

    A list of image files in ``video`` is one video.

    Raises:
        RowFault: One of them is something else or does not exist.
    """
    name = "videos" if "videos" in row.fields else "video"
    value = unpacked(row.fields.get(name))
    videos = value if isinstance(value, list) else [value]
    if not any(videos):
        return ()
    if name == "video" and all(_is_image(video) for video in videos):
        videos = [videos]
    found = []
    for position, video in enumerate(videos):
        field = f"{name}[{position}]" if isinstance(value, list) else name
        if isinstance(video, str) and video.strip():
            found.append(media.video(video, row, field))
        elif isinstance(video, list) and video and all(isinstance(one, str) for one in video):
            found.append(media.frames(video, row, field))
        else:
            raise row.error(field, "must be a folder of frames or a list of them", "media")
    return tuple(found)


def _is_image(path: object) -> bool:
    return isinstance(path, str) and path.lower().endswith(_IMAGES)


def _decoded(row: RawPairRow, url: str, field: str) -> bytes:
    head, _, content = url.partition(",")
    if not head.endswith(";base64"):
        raise row.error(field, "is a data: URL that is not in base64", "media")
    try:
        return base64.b64decode(content, validate=True)
    except ValueError as error:
        raise row.error(field, f"is a data: URL that cannot be read: {error}", "media") from error


def _natural(name: str) -> list[tuple[int, str]]:
    return [
        (int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)
    ]


def _fault(row: RawPairRow, field: str, error: Exception) -> RowFault:
    """The fault of a row whose medium cannot be used; a store that is away is none.

    Raises:
        StorageError: The store failed, which says nothing about the row.
    """
    cause = error.__cause__
    if isinstance(cause, FileNotFoundError):
        missing = f"media file does not exist ({error}); check the path and the media root"
        return row.error(field, missing, "media")
    of_the_row = isinstance(cause, PermissionError | NotADirectoryError | IsADirectoryError)
    if isinstance(error, StorageError) and not of_the_row:
        raise error
    return row.error(field, str(error), "media")
