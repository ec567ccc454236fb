"""Where the media of records may be: the gate for every address that comes from data.

Records are written by others, so what they name is no more than a wish. A path, ``file:///path``
or ``s3://bucket/key`` is taken as it is written (no percent-decoding, no ``~``, no chain of
protocols), and must lie below a folder that the job names, links followed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from fsspec.implementations.local import make_path_posix

from mmrlhf_jobs.errors import DataError, InputError
from mmrlhf_jobs.storage.uris import join_uri

__all__ = ["MediaFolders"]

_STORES: Final = ("s3://", "s3a://")
_FILE: Final = "file://"
_CACHES: Final = ("datasets--", "models--", "spaces--")
_HOW: Final = "name it by a path, file:///path or s3://bucket/key"


@dataclass(frozen=True)
class MediaFolders:
    """The folders that media of records may be in.

    Attributes:
        root: Folder that relative URIs start from; empty if none is known.
        allowed: Other folders that absolute URIs, and links below the root, may lead to.
    """

    root: str
    allowed: tuple[str, ...] = ()

    @classmethod
    def of(cls, root: str | MediaFolders) -> MediaFolders:
        """The folders themselves, or those of a root alone."""
        return root if isinstance(root, MediaFolders) else cls(root)

    def resolve(self, uri: str) -> str:
        """The full URI of a medium.

        Args:
            uri: As the record has it.

        Raises:
            DataError: It has another scheme, is no address at all, or lies outside the folders.
        """
        absolute = _check_form(uri)
        if not absolute and not self.root:
            raise DataError(f"{uri!r}: is relative, and no media root is known; give one")
        try:
            full = join_uri(self.root, uri)
            if any(_is_below(full, folder) for folder in (self.root, *self.allowed) if folder):
                return full
        except InputError as error:
            raise DataError(
                f"{error}; records may name media below the media root alone"
            ) from error
        except (OSError, ValueError) as error:
            raise DataError(f"{uri!r}: is no address of a file: {error}; {_HOW}") from error
        raise DataError(
            f"{uri}: leads out of {self.root or 'the media root'}; records may name media below the"
            " media root alone: set mediaRoot to a folder above it, or list its folder in"
            " allowedMediaRoots"
        )


def _check_form(uri: str) -> bool:
    """Whether a URI is absolute; it must be of one of the few forms."""
    scheme, mark, rest = uri.partition("://")
    if "\0" in uri:
        raise DataError(f"{uri!r}: holds a NUL character; {_HOW}")
    if mark and scheme not in ("file", "s3", "s3a"):
        raise DataError(f"{uri}: records may not name media by {scheme}://; {_HOW}")
    if mark and scheme != "file" and {".", ".."} & set(rest.split("/")):
        raise DataError(f"{uri}: holds . or .. between slashes; {_HOW}")
    if uri.lower().startswith("file:") and not uri.startswith("file:///"):
        raise DataError(f"{uri}: a file URI needs three slashes: file:///path")
    return bool(mark) or uri.startswith("/")


def _is_below(full: str, folder: str) -> bool:
    if not _is_local(full) or not _is_local(folder):
        return _plain(full).startswith(f"{_plain(folder).rstrip('/')}/")
    real = os.path.realpath(_local_path(full))
    base = os.path.realpath(_local_path(folder))
    return any(real.startswith(f"{one.rstrip('/')}/") or real == one for one in _with_blobs(base))


def _with_blobs(folder: str) -> tuple[str, ...]:
    """A folder, and where the links of a snapshot in Hugging Face's cache lead to.

    https://huggingface.co/docs/huggingface_hub/guides/manage-cache
    """
    path = PurePosixPath(folder)
    for one in (path, *path.parents):
        if one.parent.name == "snapshots" and one.parent.parent.name.startswith(_CACHES):
            return (folder, str(one.parent.parent / "blobs"))
    return (folder,)


def _is_local(uri: str) -> bool:
    return "://" not in uri or uri.startswith(_FILE)


def _local_path(uri: str) -> str:
    path: str = make_path_posix(uri.removeprefix(_FILE))
    return path


def _plain(uri: str) -> str:
    for store in _STORES:
        if uri.startswith(store):
            return f"s3://{uri[len(store) :]}"
    return uri
