"""Folders of files as an artifact holds them: listing, digests, durable writes."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Final

__all__ = [
    "FileEntry",
    "copy_stream",
    "hidden",
    "list_files",
    "remove_tree",
    "sync_file",
    "sync_folder",
    "write_durably",
]

_CHUNK: Final = 1 << 20


@dataclass(frozen=True)
class FileEntry:
    """One file of an artifact.

    Attributes:
        path: Relative to the artifact, with ``/``.
        size: Bytes.
        sha256: Digest, 64 hexadecimal digits.
    """

    path: str
    size: int
    sha256: str

    def __post_init__(self) -> None:
        if PurePosixPath(self.path).is_absolute() or ".." in PurePosixPath(self.path).parts:
            raise ValueError(f"{self.path!r} leads out of the artifact")


def list_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """All files below a folder as (relative path, path), sorted; links to files are followed."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path.relative_to(folder).as_posix(), path


def copy_stream(source: IO[bytes], target: IO[bytes] | None, path: str) -> FileEntry:
    """Copy an open binary file into another one, and say what it held.

    Args:
        source: Open for reading.
        target: Open for writing; None only reads.
        path: Name for the entry.
    """
    digest = hashlib.sha256()
    size = 0
    while chunk := source.read(_CHUNK):
        digest.update(chunk)
        size += len(chunk)
        if target is not None:
            target.write(chunk)
    return FileEntry(path, size, digest.hexdigest())


def sync_file(file: IO[bytes]) -> None:
    """Make the content of a file that is open for writing durable."""
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable: a rename survives a power cut only after this."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some network file systems know no fsync of folders; their names are durable anyway.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def hidden(path: Path) -> Path:
    """Where a file or folder is written before it is renamed to its final path.

    The name is fixed, so that the next writer finds and replaces what a killed one left.
    """
    return path.parent / f".{path.name}.tmp"


def write_durably(path: Path, content: bytes) -> None:
    """Write or replace a file: after this it holds the content, on any failure what it held."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arriving = hidden(path)
    try:
        with arriving.open("wb") as file:
            file.write(content)
            sync_file(file)
        arriving.replace(path)
    except BaseException:
        arriving.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def remove_tree(path: Path) -> None:
    """Remove a file or a folder with all it holds; nothing there is fine."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
