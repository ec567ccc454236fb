"""Artifacts: folders of files that a reader sees whole or not at all.

An artifact is a folder with the file ``COMMITTED``, which lists every other file with its size
and digest. On a local file system the files are written into a hidden folder beside the final
one, made durable, and renamed into place. An object store has no rename: the files are uploaded
under the key, and ``COMMITTED`` last. Until that is there, the artifact does not exist for
readers.

A key has one writer: it is part of what belongs to one attempt (see `mmrlhf_jobs.storage.claims`).
What several writers may make at once is published by its content (`ArtifactStore.publish_content`).
Nobody removes or replaces what may be another writer's.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from uuid import uuid4

from mmrlhf_jobs.errors import DamagedError, InputError, JobError, StorageError, SupersededError
from mmrlhf_jobs.storage.files import new_file
from mmrlhf_jobs.storage.folders import (
    FileEntry,
    copy_folder,
    copy_stream,
    entry_of,
    file_sizes,
    hidden,
    list_files,
    list_tree,
    move_file,
    move_folder,
    read_entry,
    remove_paths,
    remove_tree,
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

_COPY_AT_ONCE: Final = 5 * 2**30
"""Bytes that S3 copies by one request; larger objects are copied in parts."""
_COPY_PART: Final = 2**30


class ArtifactStore:
    """Artifacts and small text files below one URI.

    Keys are relative paths such as ``default/align/checkpoints/step-100``; no part of one may
    start with a dot, because hidden names are files on their way.

    Args:
        uri: Folder: a path, ``file://`` or ``s3://``.
        options: Where the object store is, for ``s3://``.
        guard: Called before each write and removal; raises SupersededError if there must be none.
    """

    def __init__(
        self,
        uri: str,
        options: StorageOptions | None = None,
        *,
        guard: Callable[[], None] = lambda: None,
    ) -> None:
        self.uri = uri.rstrip("/") or "/"
        self._options = options
        self._root = locate(self.uri, options)
        self._guard = guard
        # s3fs asks for the size first, to read large files in parts.
        self._in_one = {"max_concurrency": 1} if self.uri.startswith("s3") else {}

    def guarded(self, guard: Callable[[], None]) -> ArtifactStore:
        """The same store for a writer that may be superseded."""
        return ArtifactStore(self.uri, self._options, guard=guard)

    def publish(self, local_dir: str | Path, key: str) -> list[FileEntry]:
        """Make the files of a local folder visible at a key, all at once.

        Publishing the same content twice does nothing the second time.

        Returns:
            What was published, in the order of its marker.

        Raises:
            StorageError: The disk is full, the store fails, the folder is empty, or the key holds
                another artifact. Nothing new is visible then, and temporary files are removed.
            InputError: The store may not be written.
        """
        files = self._publishable(Path(local_dir), key)
        if (committed := self.entries(key)) is not None:
            self._check_same(key, committed, _digests(files))
            return committed
        if nested := self.list_committed(key):
            raise StorageError(
                f"{self._uri(key)} cannot be an artifact, because it holds {nested[0]}"
            )
        return self._put_folder(files, key)

    def publish_made(
        self, files: Mapping[str, Callable[[], bytes]], key: str, *, at_once: int = 4
    ) -> list[FileEntry]:
        """Make files visible at a key, all at once, that are made on their way: no disk holds them.

        Publishing the same content twice does nothing the second time.

        Args:
            files: What makes the content of each file, by its path; called once each.
            key: Where to.
            at_once: Files that are made and written at the same time.

        Returns:
            What was published, in the order of its marker.

        Raises:
            StorageError: As `publish`.
            InputError: The store may not be written.
        """
        committed = self.entries(key)
        names = sorted(files)
        if committed is not None:
            self._check_same(key, committed, [entry_of(name, files[name]()) for name in names])
            return committed
        place = self._path(key)
        arriving = str(hidden(Path(place))) if self._root.is_local else place

        def put(name: str) -> FileEntry:
            self._guard()
            content = files[name]()
            self._write(f"{arriving}/{name}", content)
            return entry_of(name, content)

        with self._changing(key, "write"):
            try:
                entries = _each(put, names, at_once=at_once)
                self._guard()
                self._write(f"{arriving}/{MARKER}", make_marker(entries))
                if self._root.is_local:
                    return self._take_place(Path(arriving), key, entries)
            except BaseException:
                # Without its marker it is invisible; removing the rest only saves space.
                for name in names:
                    with suppress(Exception):
                        self._root.fs.rm_file(f"{arriving}/{name}")
                raise
            finally:
                if self._root.is_local:
                    remove_tree(Path(arriving))
        return entries

    def publish_content(self, local_dir: str | Path, key: str) -> str:
        """Publish a folder below a key, named by its content; return its own key.

        Any number of writers may do so at once: equal contents are one artifact, others stand side
        by side.

        Raises:
            StorageError: The disk is full, the store fails, or the folder is empty.
            InputError: The store may not be written.
        """
        files = self._publishable(Path(local_dir), key)
        entries = _digests(files)
        place = f"{key}/{digest_of_files(entries)[:32]}"
        if self.entries(place) is None:
            self._put_folder(files, place, content=entries)
        return place

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
            digest: `digest_of_files` of what `publish` returned, if it must be that very content.

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
        arriving = hidden(target)
        try:
            with storage_errors(f"{self._uri(key)} to {target}", "copy"):
                arriving.mkdir(parents=True)  # also for an artifact without files
                for entry in entries:
                    self._fetch_file(key, entry, arriving / entry.path)
                if target.exists():
                    target.rmdir()
                arriving.rename(target)
        finally:
            shutil.rmtree(arriving, ignore_errors=True)

    def entries(self, key: str) -> list[FileEntry] | None:
        """Files of the artifact at a key, as they were published; None if none is there.

        Raises:
            DamagedError: Its marker cannot be read.
        """
        text = self.read_text(f"{key}/{MARKER}")
        return None if text is None else parse_marker(text, f"{self._uri(key)}/{MARKER}")

    def is_committed(self, key: str) -> bool:
        """Whether a whole artifact is at the key."""
        return self.entries(key) is not None

    def local_folder(self, key: str) -> Path | None:
        """Where a key is on this machine; None for an object store."""
        return Path(self._path(key)) if self._root.is_local else None

    def list_committed(self, prefix: str = "") -> list[str]:
        """Keys of all artifacts at or below a prefix (a folder), sorted."""
        found = [key for key in self.sizes(prefix) if f"/{key}".endswith(f"/{MARKER}")]
        keys = [key.removesuffix(MARKER).rstrip("/") for key in found]
        return sorted(key for key in keys if not any(p.startswith(".") for p in key.split("/")))

    def sizes(self, prefix: str = "") -> dict[str, int]:
        """Bytes of every file at or below a prefix (a folder), by key; hidden ones too."""
        return {self._key(path): size for path, size in self._find(prefix).items()}

    def remove(self, key: str, *, but: str | None = None) -> None:
        """Remove what is at the key and below it, commit markers first; nothing there is fine.

        What is written there after it has been listed stays.

        Args:
            key: File or folder.
            but: Key of a file that stays.
        """
        kept = None if but is None else self._path(but)
        if self._root.is_local:
            with storage_errors(self._uri(key), "list"):
                found = [str(path) for path in list_tree(Path(self._path(key)))]
        else:
            found = list(self._find(key))
        markers = [path for path in found if path.endswith(f"/{MARKER}")]
        others = [path for path in found if not path.endswith(f"/{MARKER}") and path != kept]
        for batch in filter(None, (markers, others)):
            with self._changing(key, "remove"):
                if self._root.is_local:
                    remove_paths(Path(path) for path in batch)
                else:
                    self._remove_objects(batch)

    def move_folder(self, source: str, target: str) -> bool:
        """Make a folder another key's, at once, where the store can and nothing is there yet."""
        if not self._root.is_local:
            return False
        with self._changing(target, "write"):
            return move_folder(Path(self._path(source)), Path(self._path(target)))

    def put(self, source: str, target: str, size: int) -> None:
        """Put a file at another key as well, in place of what is there, at once.

        On a local file system it leaves its old place.

        Args:
            source: Key of the file.
            target: Its new key.
            size: Its bytes.
        """
        parts = {"block": _COPY_PART} if size > _COPY_AT_ONCE else {}
        with self._changing(target, "write"):
            if self._root.is_local:
                move_file(Path(self._path(source)), Path(self._path(target)))
            else:
                self._root.fs.cp_file(self._path(source), self._path(target), **parts)

    def check_writable(self) -> None:
        """Write and remove a small file, to fail before any work is done.

        Raises:
            InputError: The store may not be written or does not exist.
            StorageError: The disk is full or the server does not answer.
        """
        # Others may be at it, too.
        probe = self._path(f"writable-check-{uuid4().hex[:8]}")
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

    @contextmanager
    def new_file(self, key: str) -> Iterator[Path]:
        """Write a file locally, and put it at a key when the block ends without an error.

        Yields:
            Path of a local file to create; see `mmrlhf_jobs.storage.files.new_file` for errors.
        """
        with self._changing(key, "write"), new_file(self._uri(key), self._options) as path:
            yield path
            self._guard()

    def write_text(self, key: str, text: str) -> None:
        """Write or replace a small text file at once: readers see the old or the new text.

        Raises:
            StorageError: The disk is full or the store fails; the old text stays.
            InputError: The store may not be written.
        """
        with self._changing(key, "write"):
            self._write(self._path(key), text.encode())

    def read_text(self, key: str) -> str | None:
        """Text at a key, or None if there is none.

        Raises:
            DamagedError: What is there is no text.
        """
        with storage_errors(self._uri(key), "read"):
            try:
                content: bytes = self._root.fs.cat_file(self._path(key), **self._in_one)
            except (FileNotFoundError, NotADirectoryError):
                return None
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            raise DamagedError(f"{self._uri(key)} is damaged: it is no UTF-8 text") from error

    def _write(self, path: str, content: bytes) -> None:
        """Write or replace a file at once."""
        if self._root.is_local:
            write_durably(Path(path), content)
        else:
            self._root.fs.pipe_file(path, content)

    @contextmanager
    def _changing(self, key: str, action: str) -> Iterator[None]:
        """Look at the guard before a change, and again if it fails: that may be why."""
        self._guard()
        try:
            with storage_errors(self._uri(key), action):
                yield
        except SupersededError:
            raise
        except JobError as error:
            try:
                self._guard()
            except SupersededError as superseded:
                raise superseded from error
            except JobError:
                pass
            raise

    def _publishable(self, folder: Path, key: str) -> list[tuple[str, Path]]:
        files = list(list_files(folder))
        if not files:
            raise StorageError(f"{folder}: holds no files to publish as {self._uri(key)}")
        if markers := [str(path) for _, path in files if path.name == MARKER]:
            raise StorageError(f"{markers[0]}: the name {MARKER} is taken by the commit marker")
        return files

    def _check_same(self, key: str, committed: list[FileEntry], entries: list[FileEntry]) -> None:
        if committed != entries:
            raise StorageError(
                f"{self._uri(key)} is already published with other content; remove it first"
            )

    def _put_folder(
        self,
        files: Sequence[tuple[str, Path]],
        key: str,
        *,
        content: list[FileEntry] | None = None,
    ) -> list[FileEntry]:
        """Put files at a key; with the `content` that it is named by, others may do the same."""
        with self._changing(key, "write"):
            if self._root.is_local:
                return self._publish_locally(files, key)
            return self._upload(files, self._path(key), content)

    def _publish_locally(self, files: Sequence[tuple[str, Path]], key: str) -> list[FileEntry]:
        target = Path(self._path(key))
        arriving = hidden(target)
        try:
            entries = copy_folder(files, arriving)
            write_durably(arriving / MARKER, make_marker(entries))
            return self._take_place(arriving, key, entries)
        finally:
            remove_tree(arriving)

    def _take_place(self, arriving: Path, key: str, entries: list[FileEntry]) -> list[FileEntry]:
        """Rename what is written beside its place, on a local file system."""
        self._guard()
        target = Path(self._path(key))
        if not move_folder(arriving, target):
            # Another was faster, or somebody has left something there.
            if (committed := self.entries(key)) is not None:
                self._check_same(key, committed, entries)
                return committed
            for name in (*(entry.path for entry in entries), MARKER):
                move_file(arriving / name, target / name)
        return entries

    def _upload(
        self, files: Sequence[tuple[str, Path]], path: str, content: list[FileEntry] | None
    ) -> list[FileEntry]:
        fs = self._root.fs
        put: list[str] = []
        try:
            for name, file in files:
                self._guard()
                put.append(f"{path}/{name}")
                fs.put_file(str(file), put[-1])
            entries = _digests(files) if content is None else content
            self._guard()
            put.append(f"{path}/{MARKER}")
            fs.pipe_file(put[-1], make_marker(entries))
        except BaseException:
            # Without its marker the artifact is invisible; removing the rest only saves space.
            # A store that fails now as well must not hide the first error. Others may have put
            # the same under a shared key.
            for each in reversed(put) if content is None else ():
                with suppress(Exception):
                    fs.rm_file(each)
            raise
        return entries

    def _remove_objects(self, paths: Sequence[str]) -> None:
        plain = [path for path in paths if not any(sign in path for sign in "*?[")]
        if plain:
            self._root.fs.rm(plain)
        for path in sorted(set(paths).difference(plain)):  # `rm` takes these for patterns
            self._root.fs.rm_file(path)

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

    def _find(self, prefix: str) -> dict[str, int]:
        """Path and size of every file at or below a prefix."""
        path = self._path(prefix)
        with storage_errors(self._uri(prefix), "list"):
            if self._root.is_local:
                return dict(file_sizes(Path(path)))
            try:
                found = self._root.fs.find(path, detail=True)
            except (FileNotFoundError, NotADirectoryError):
                return {}
            # What is a file itself is found without details by some file systems.
            return {
                str(name): int(info["size"] if "size" in info else self._root.fs.size(name))
                for name, info in found.items()
                if info.get("type") != "directory"
            }

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


def _each(
    work: Callable[[str], FileEntry], names: Sequence[str], *, at_once: int
) -> list[FileEntry]:
    """Do work for several names, some at once; after an error none is begun any more."""
    with ThreadPoolExecutor(at_once, thread_name_prefix="artifact") as pool:
        try:
            return list(pool.map(work, names))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _digests(files: Sequence[tuple[str, Path]]) -> list[FileEntry]:
    return [read_entry(path, name) for name, path in files]
