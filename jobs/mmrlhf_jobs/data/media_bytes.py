"""The bytes of one media file: of a regular file, and not more than fit in memory."""

from __future__ import annotations

import errno
import os
import stat
from typing import Final, Literal, TypeAlias

from mmrlhf_jobs.errors import JobError, StorageError
from mmrlhf_jobs.storage.uris import Location, StorageOptions, locate, storage_errors

__all__ = ["MAX_FILE_BYTES", "FileReason", "UnusableFileError", "check_local_file", "read_media"]

MAX_FILE_BYTES: Final = 256 << 20
"""Larger image files are refused: 89 million pixels of 16 bits fit even uncompressed."""

FileReason: TypeAlias = Literal["missing-file", "forbidden-file", "too-large"]
"""Why a file cannot be used."""

_CHUNK: Final = 1 << 20
_NO_NAME: Final = frozenset({errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL, errno.EILSEQ})
_ABSENT: Final = (FileNotFoundError, IsADirectoryError, NotADirectoryError)


class UnusableFileError(Exception):
    """A media file that cannot be read, by its own fault or that of its name.

    Args:
        reason: One word of a closed set.
        message: What is wrong, to follow the name of the file.
    """

    def __init__(self, reason: FileReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def read_media(
    uri: str, storage: StorageOptions | None = None, *, most: int = MAX_FILE_BYTES
) -> bytes:
    """All bytes of a media file.

    Args:
        uri: Full URI, let through by :class:`mmrlhf_jobs.data.media_folders.MediaFolders`.
        storage: Where the object store is, for ``s3://``.
        most: Bytes that it may have.

    Raises:
        UnusableFileError: It does not exist, is no regular file, or is too large.
        InputError: There is no permission to read it.
        StorageError: The store does not answer.
    """
    try:
        location = locate(uri, storage)
        with storage_errors(uri, "read"):
            return _read_local(location.path, most) if location.is_local else _get(location, most)
    except UnusableFileError:
        raise
    except StorageError as error:
        if isinstance(error.__cause__, _ABSENT):
            raise UnusableFileError("missing-file", "does not exist") from error
        if isinstance(error.__cause__, OSError) and error.__cause__.errno in _NO_NAME:
            raise UnusableFileError("missing-file", f"cannot be opened: {error}") from error
        raise
    except JobError:
        raise
    except Exception as error:  # names and stores know many; whatever it is, the name made it
        raise UnusableFileError("missing-file", f"cannot be opened: {error!r}") from error


def check_local_file(path: str, most: int = MAX_FILE_BYTES) -> None:
    """Look at a local file without opening it.

    Raises:
        UnusableFileError: It is no regular file, or is too large.
        OSError: It does not exist, and so on.
    """
    _check_kind(os.stat(path), most)  # noqa: PTH116 - paths with NUL are the record's fault


def _check_kind(info: os.stat_result, most: int) -> None:
    if stat.S_ISDIR(info.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(info.st_mode):
        raise UnusableFileError(
            "forbidden-file", "is no regular file; pipes, devices and sockets are not read"
        )
    _check_size(info.st_size, most)


def _check_size(size: int, most: int) -> None:
    if size > most:
        raise UnusableFileError(
            "too-large", f"has {size} bytes, more than {most}; save it in a smaller form"
        )


def _read_local(path: str, most: int) -> bytes:
    # Looked at before it is opened, since opening a device can do things, and again once it is
    # open. It may grow meanwhile, and files of /proc tell no size: what is read is bounded too.
    check_local_file(path, most)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        _check_kind(os.fstat(descriptor), most)
        content = bytearray()
        while chunk := file.read(_CHUNK):
            content += chunk
            _check_size(len(content), most)
        return bytes(content)


def _get(location: Location, most: int) -> bytes:
    info = location.fs.info(location.path)
    if info["type"] != "file":
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), location.uri)
    _check_size(int(info["size"] or 0), most)
    content: bytes = location.fs.cat_file(location.path)
    return content
