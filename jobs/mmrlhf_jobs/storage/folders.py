"""Folders of files as an artifact holds them: listing, digests, durable writes."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Final
from uuid import uuid4

__all__ = [
    "FileEntry",
    "copy_folder",
    "copy_stream",
    "entry_of",
    "file_sizes",
    "hidden",
    "list_files",
    "list_tree",
    "move_file",
    "move_folder",
    "read_entry",
    "remove_paths",
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


def read_entry(path: Path, name: str) -> FileEntry:
    """Size and digest of a local file, under a name."""
    with path.open("rb") as source:
        return copy_stream(source, None, name)


def entry_of(name: str, content: bytes) -> FileEntry:
    """Size and digest of what a file holds, under a name."""
    return FileEntry(name, len(content), hashlib.sha256(content).hexdigest())


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
    """Where one writer writes a file or folder before it is renamed to its final path.

    No other writer has this name, so none can be in another's way. What a killed one has left
    stays, unseen.
    """
    return path.parent / f".{path.name}.{uuid4().hex[:8]}.tmp"


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


def copy_folder(files: Iterable[tuple[str, Path]], target: Path) -> list[FileEntry]:
    """Copy files into a new folder, durably; return what they hold.

    Args:
        files: Relative paths, and where the files are.
        target: The folder.
    """
    entries = []
    for name, path in files:
        copy = target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        with path.open("rb") as source, copy.open("wb") as file:
            entries.append(copy_stream(source, file, name))
            sync_file(file)
    for folder in (target, *(path for path in target.rglob("*") if path.is_dir())):
        sync_folder(folder)
    return entries


def move_folder(source: Path, target: Path) -> bool:
    """Rename a folder, if nothing is at the target yet and the folder is still there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        source.rename(target)
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return False
    sync_folder(target.parent)
    return True


def move_file(source: Path, target: Path) -> None:
    """Rename a file, in place of what is at the target, durably."""
    target.parent.mkdir(parents=True, exist_ok=True)
    source.replace(target)
    sync_folder(target.parent)


def list_tree(path: Path) -> list[Path]:
    """A file, or all files and folders below a folder and itself, what is inside first.

    Links are listed, not followed. What goes away meanwhile is left out.
    """
    if path.is_symlink() or path.is_file():
        return [path]
    found: list[Path] = []
    for place, folders, names in os.walk(path, topdown=False, onerror=_raise_others):
        found += [Path(place, name) for name in names]
        found += [Path(place, name) for name in folders if Path(place, name).is_symlink()]
        found.append(Path(place))
    return found


def file_sizes(path: Path) -> Iterator[tuple[str, int]]:
    """Path and bytes of a file, or of all files below a folder; what goes away is left out."""
    for each in list_tree(path):
        with suppress(FileNotFoundError):
            if each.is_file():
                yield str(each), each.stat().st_size


def remove_paths(paths: Iterable[Path]) -> None:
    """Remove files, and folders that are empty by then; those that are gone are fine."""
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            # Somebody may have put more into it.
            with suppress(OSError):
                path.rmdir()
        else:
            path.unlink(missing_ok=True)


def remove_tree(path: Path) -> None:
    """Remove a file or a folder with all it holds; nothing there is fine."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _raise_others(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error
