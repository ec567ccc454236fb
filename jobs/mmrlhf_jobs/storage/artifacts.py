"""Artifacts: folders of files that a reader sees whole or not at all.

An artifact is a folder with the file ``COMMITTED``, which lists every other file with its size
and digest. On a local file system the files are written into a hidden folder beside the final
one, made durable, and renamed into place. An object store has no rename: the files are uploaded
under the key, and ``COMMITTED`` last. Until that is there, the artifact does not exist for
readers.

One key has one writer at a time; different keys may be written by different processes at once.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from mmrlhf_jobs.errors import DamagedError, InputError, StorageError
from mmrlhf_jobs.storage.folders import (
    FileEntry,
    copy_stream,
    hidden,
    list_files,
    remove_tree,
    sync_file,
    sync_folder,
    write_durably,
)
from mmrlhf_jobs.storage.marker import (
    MARKER,
    check_entry,
    digest_of_files,
    make_marker,
    parse_marker,
)
from mmrlhf_jobs.storage.uris import StorageOptions, locate, storage_errors

__all__ = ["ArtifactStore"]


class ArtifactStore:
    """Artifacts and small text files below one URI.

    Keys are relative paths such as ``default/align/checkpoints/step-100``; no part of one may
    start with a dot, because hidden names are files on their way.

    Args:
        uri: Folder: a path, ``file://`` or ``s3://``.
        options: Where the object store is, for ``s3://``.
    """

    def __init__(self, uri: str, options: StorageOptions | None = None) -> None:
        self.uri = uri.rstrip("/") or "/"
        self._root = locate(self.uri, options)

    def publish(self, local_dir: str | Path, key: str) -> str:
        """Make the files of a local folder visible at a key, all at once.

        Publishing the same content twice does nothing the second time.

        Returns:
            Digest of what was published, which `fetch` compares.

        Raises:
            StorageError: The disk is full, the store fails, the folder is empty, or the key holds
                another artifact. Nothing new is visible then, and temporary files are removed.
            InputError: The store may not be written.
        """
        files = self._publishable(Path(local_dir), key)
        if (committed := self.entries(key)) is not None:
            if committed != _digests(files):
                raise StorageError(
                    f"{self._uri(key)} is already published with other content; remove it first"
                )
            return digest_of_files(committed)
        if nested := self.list_committed(key):
            raise StorageError(
                f"{self._uri(key)} cannot be an artifact, because it holds {nested[0]}"
            )
        with storage_errors(self._uri(key), "write"):
            if self._root.is_local:
                entries = self._publish_locally(files, Path(self._path(key)))
            else:
                entries = self._upload(files, self._path(key))
        return digest_of_files(entries)

    def check_publishable(self, local_dir: str | Path, key: str) -> None:
        """Look at a folder as `publish` does, without publishing anything.

        Raises:
            StorageError: The folder is empty, or a file has the name of the commit marker.
        """
        self._publishable(Path(local_dir), key)

    def fetch(self, key: str, local_dir: str | Path, *, digest: str | None = None) -> None:
        """Copy an artifact to a local folder, checking every size and digest.

        Args:
            key: A committed artifact.
            local_dir: New or empty folder; it appears whole or not at all.
            digest: What `publish` returned, if it must be that very content.

        Raises:
            DamagedError: There is no such artifact, or it is not what was published.
            StorageError: The folder is not empty, or the store fails.
        """
        entries = self.entries(key)
        if entries is None:
            raise DamagedError(f"{self._uri(key)}: no complete artifact is there")
        if digest is not None and digest_of_files(entries) != digest:
            raise DamagedError(f"{self._uri(key)}: another writer's files are there")
        target = Path(local_dir)
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise StorageError(f"{target}: is not an empty folder, nothing was fetched into it")
        arriving = target.parent / f".{target.name}.tmp"
        shutil.rmtree(arriving, ignore_errors=True)
        try:
            with storage_errors(f"{self._uri(key)} to {target}", "copy"):
                for entry in entries:
                    self._fetch_file(key, entry, arriving / entry.path)
                if target.exists():
                    target.rmdir()
                arriving.rename(target)
        finally:
            shutil.rmtree(arriving, ignore_errors=True)

    def is_committed(self, key: str) -> bool:
        """Whether a whole artifact is at the key."""
        return self.entries(key) is not None

    def entries(self, key: str) -> list[FileEntry] | None:
        """Files of the artifact at a key, as they were published; None if none is there.

        Raises:
            DamagedError: Its marker cannot be read.
        """
        text = self.read_text(f"{key}/{MARKER}")
        return None if text is None else parse_marker(text, f"{self._uri(key)}/{MARKER}")

    def local_folder(self, key: str) -> Path | None:
        """Where a key is on this machine; None for an object store."""
        return Path(self._path(key)) if self._root.is_local else None

    def list_committed(self, prefix: str = "") -> list[str]:
        """Keys of all artifacts at or below a prefix (a folder), sorted."""
        found = [path for path in self._find(prefix) if path.rpartition("/")[2] == MARKER]
        keys = [self._key(path.rpartition("/")[0]) for path in found]
        return sorted(key for key in keys if not any(p.startswith(".") for p in key.split("/")))

    def remove(self, key: str) -> None:
        """Remove what is at the key and below it, commit markers first; nothing there is fine."""
        path = self._path(key)
        with storage_errors(self._uri(key), "remove"):
            markers = [file for file in self._find(key) if file.endswith(f"/{MARKER}")]
            for marker in markers:
                self._root.fs.rm_file(marker)
            if self._root.is_local:
                remove_tree(hidden(Path(path)))
                remove_tree(Path(path))
            elif self._root.fs.exists(path):
                self._root.fs.rm(path, recursive=True)

    def check_writable(self) -> None:
        """Write and remove a small file, to fail before any work is done.

        Raises:
            InputError: The store may not be written or does not exist.
            StorageError: The disk is full or the server does not answer.
        """
        probe = self._path("writable-check")
        try:
            with storage_errors(self.uri, "write"):
                if self._root.is_local:
                    Path(probe).parent.mkdir(parents=True, exist_ok=True)
                self._root.fs.pipe_file(probe, b"mmrlhf")
                self._root.fs.rm_file(probe)
        except StorageError as error:
            cause = error.__cause__
            if isinstance(cause, FileNotFoundError | NotADirectoryError | FileExistsError):
                raise InputError(
                    f"{self.uri}: cannot be used as a folder for artifacts ({cause}); create it,"
                    " or choose another artifacts.uri"
                ) from error
            raise

    def write_text(self, key: str, text: str) -> None:
        """Write or replace a small text file at once: readers see the old or the new text.

        Raises:
            StorageError: The disk is full or the store fails; the old text stays.
            InputError: The store may not be written.
        """
        path = self._path(key)
        with storage_errors(self._uri(key), "write"):
            if self._root.is_local:
                write_durably(Path(path), text.encode())
            else:
                self._root.fs.pipe_file(path, text.encode())

    def read_text(self, key: str) -> str | None:
        """Text at a key, or None if there is none.

        Raises:
            DamagedError: What is there is no text.
        """
        with storage_errors(self._uri(key), "read"):
            try:
                content: bytes = self._root.fs.cat_file(self._path(key))
            except (FileNotFoundError, NotADirectoryError):
                return None
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            raise DamagedError(f"{self._uri(key)} is damaged: it is no UTF-8 text") from error

    def _publishable(self, folder: Path, key: str) -> list[tuple[str, Path]]:
        files = list(list_files(folder))
        if not files:
            raise StorageError(f"{folder}: holds no files to publish as {self._uri(key)}")
        if markers := [str(path) for _, path in files if path.name == MARKER]:
            raise StorageError(f"{markers[0]}: the name {MARKER} is taken by the commit marker")
        return files

    def _publish_locally(self, files: Sequence[tuple[str, Path]], target: Path) -> list[FileEntry]:
        arriving = hidden(target)
        # Both can only be left over by a writer that was killed.
        remove_tree(arriving)
        remove_tree(target)
        try:
            entries = []
            for name, path in files:
                copy = arriving / name
                copy.parent.mkdir(parents=True, exist_ok=True)
                with path.open("rb") as source, copy.open("wb") as file:
                    entries.append(copy_stream(source, file, name))
                    sync_file(file)
            write_durably(arriving / MARKER, make_marker(entries))
            for folder in (arriving, *(path for path in arriving.rglob("*") if path.is_dir())):
                sync_folder(folder)
            arriving.rename(target)
        except BaseException:
            remove_tree(arriving)
            raise
        sync_folder(target.parent)
        return entries

    def _upload(self, files: Sequence[tuple[str, Path]], path: str) -> list[FileEntry]:
        fs = self._root.fs
        if fs.exists(path):
            fs.rm(path, recursive=True)
        try:
            for name, file in files:
                fs.put_file(str(file), f"{path}/{name}")
            entries = _digests(files)
            fs.pipe_file(f"{path}/{MARKER}", make_marker(entries))
        except BaseException:
            # Without its marker the artifact is invisible; removing the rest only saves space.
            # A store that fails now as well must not hide the first error.
            with suppress(Exception):
                fs.rm(path, recursive=True)
            raise
        return entries

    def _fetch_file(self, key: str, entry: FileEntry, target: Path) -> None:
        uri = self._uri(f"{key}/{entry.path}")
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            remote = self._root.fs.open(f"{self._path(key)}/{entry.path}", "rb")
        except (FileNotFoundError, IsADirectoryError) as error:
            raise DamagedError(f"{uri} does not exist, but was published") from error
        with remote as source, target.open("wb") as file:
            found = copy_stream(source, file, entry.path)
        check_entry(found, entry, uri)

    def _find(self, prefix: str) -> list[str]:
        path = self._path(prefix)
        with storage_errors(self._uri(prefix), "list"):
            try:
                return [str(found) for found in self._root.fs.find(path)]
            except (FileNotFoundError, NotADirectoryError):
                return []

    def _path(self, key: str) -> str:
        return f"{self._root.path.rstrip('/')}/{_checked(key)}".rstrip("/")

    def _key(self, path: str) -> str:
        return path.removeprefix(self._root.path.rstrip("/")).strip("/")

    def _uri(self, key: str) -> str:
        return f"{self.uri.rstrip('/')}/{key}" if key else self.uri


def _checked(key: str) -> str:
    parts = key.split("/") if key else []
    if any(part == "" or part.startswith(".") for part in parts):
        raise StorageError(
            f"{key!r} is no key: it must be a relative path without empty or hidden parts"
        )
    return key


def _digests(files: Sequence[tuple[str, Path]]) -> list[FileEntry]:
    entries = []
    for name, path in files:
        with path.open("rb") as source:
            entries.append(copy_stream(source, None, name))
    return entries
