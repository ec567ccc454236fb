"""Parts: what a stage has finished, kept for the next stage and for the next attempt.

A part is an artifact (a folder with a commit marker, see ``storage.artifacts``) that holds the
stage's files and ``part.json``: the key of what it was made from, counts, and facts. A part whose
key matches is not made again, so a run that was killed goes on where it stopped. Parts are kept by
their content, below their name: several processes may make one at the same time, and what an
attempt makes that was cut off and comes back is in nobody's way.

A process compares each file with the digest in the marker before it reads it for the first time. A
part that is damaged loses its marker: the job says so and ends, and its next run makes it anew.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import IO, Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from mmrlhf_jobs.errors import DamagedError, StorageError
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from mmrlhf_jobs.storage.folders import FileEntry, copy_stream
from mmrlhf_jobs.storage.marker import MARKER, check_entry
from mmrlhf_jobs.storage.uris import StorageOptions, full_disk_errors, locate, storage_errors

__all__ = ["Draft", "Part", "Parts"]

_NOTES: Final = "part.json"


@dataclass(frozen=True)
class Part:
    """A part that is whole.

    Attributes:
        uri: Folder that holds its files.
        name: Name within its stage.
        key: What it was made from: inputs, settings and version of the code, as a digest.
        counts: Numbers that add up over parts, such as rows and failures by reason.
        facts: Whatever else the stage noted; JSON.
        files: Its files, as they were published.
        storage: How to reach an object store.
        discard: Takes the part's marker away, if this process may.
    """

    uri: str
    name: str
    key: str
    counts: Mapping[str, int]
    facts: Mapping[str, Any]
    files: tuple[FileEntry, ...]
    storage: StorageOptions | None = None
    discard: Callable[[], None] = field(default=lambda: None, compare=False, repr=False)

    def check(self, *names: str) -> None:
        """Compare files with what was published, once a process.

        Args:
            names: Which; none: all.

        Raises:
            DamagedError: One differs or is gone. The part has lost its marker then.
            SupersededError: One differs, but another attempt holds the run: the part is its to give
                up.
            StorageError: The store does not answer.
        """
        for entry in self.files:
            if names and entry.path not in names:
                continue
            try:
                _check_file(f"{self.uri}/{entry.path}", entry, self.storage)
            except DamagedError as error:
                self.discard()
                raise DamagedError(
                    f"{error}; the part is given up: run the job again, and it is made anew"
                ) from error

    @contextmanager
    def open(self, file: str) -> Iterator[IO[bytes]]:
        """Open one of its files.

        Raises:
            DamagedError: It is not what was published.
            StorageError: It is not there, or the store does not answer.
        """
        self.check(file)
        uri = f"{self.uri}/{file}"
        location = locate(uri, self.storage)
        with storage_errors(uri, "read"), location.fs.open(location.path, "rb") as handle:
            yield handle

    @contextmanager
    def table(self, file: str) -> Iterator[pq.ParquetFile]:
        """Open one of its Parquet files; row groups are read as they are asked for.

        Raises:
            DamagedError: It is not what was published.
            StorageError: It is not there, or the store does not answer.
        """
        self.check(file)
        uri = f"{self.uri}/{file}"
        location = locate(uri, self.storage)
        with storage_errors(uri, "read"):
            handle = location.fs.open(location.path, "rb")
        with handle:
            try:
                with storage_errors(uri, "read"), pq.ParquetFile(handle) as table:
                    yield table
            except pa.ArrowException as error:
                raise StorageError(f"{uri} is damaged: {error}; remove {self.uri}") from error


@lru_cache(maxsize=1 << 16)
def _check_file(uri: str, entry: FileEntry, storage: StorageOptions | None) -> None:
    """Read a file whole and compare it; errors are not remembered, so they come again."""
    location = locate(uri, storage)
    with storage_errors(uri, "read"):
        try:
            handle = location.fs.open(location.path, "rb")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise DamagedError(f"{uri} does not exist, but was published") from error
        with handle:
            check_entry(copy_stream(handle, None, entry.path), entry, uri)


@dataclass
class Draft:
    """A part in the making.

    Attributes:
        folder: Local folder for its files.
        counts: Numbers to note, by name.
        facts: Anything else to note; JSON.
    """

    folder: Path
    counts: dict[str, int] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def count(self, name: str, more: int = 1) -> None:
        """Add to a count."""
        self.counts[name] = self.counts.get(name, 0) + more


class Parts:
    """The parts of one stage of a run.

    Args:
        store: Artifacts.
        prefix: Key that the parts are below, such as ``<run>/work/rows``.
        scratch: Local folder of this process, for files on their way.
        storage: How to reach an object store.
    """

    def __init__(
        self,
        store: ArtifactStore,
        prefix: str,
        *,
        scratch: Path,
        storage: StorageOptions | None = None,
    ) -> None:
        self._store = store
        self._prefix = prefix
        self._scratch = scratch
        self._storage = storage

    def find(self, name: str, key: str) -> Part | None:
        """The part of that name, if it is whole and was made from the same.

        Raises:
            DamagedError: Its notes are not what was published.
        """
        return next(self.find_all(name, key), None)

    def find_all(self, name: str, key: str) -> Iterator[Part]:
        """All parts of that name that are whole and were made from the same; errors as `find`."""
        for at in self._store.list_committed(self._at(name)):
            part = self._read(at, name)
            if part is not None and part.key == key:
                yield part

    def forget(self, part: Part) -> None:
        """Remove a part that no other process of the run may read any more."""
        self._store.remove(part.uri.removeprefix(self._store.uri).lstrip("/"))

    def _read(self, at: str, name: str) -> Part | None:
        files = self._store.entries(at)
        if files is None:
            return None
        uri = f"{self._store.uri}/{at}"
        discard = partial(self._store.remove, f"{at}/{MARKER}")
        part = Part(uri, name, "", {}, {}, tuple(files), self._storage, discard)
        part.check(_NOTES)
        text = self._store.read_text(f"{at}/{_NOTES}")
        try:
            notes = json.loads(text or "")
            return replace(part, key=notes["key"], counts=notes["counts"], facts=notes["facts"])
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise DamagedError(f"{uri}/{_NOTES} is damaged ({error}); remove the folder") from error

    def at(self, uri: str, name: str) -> Part:
        """The part at a URI, which another process of the run has found.

        Raises:
            DamagedError: Its notes are not what was published.
            StorageError: It is not there any more.
        """
        part = self._read(uri.removeprefix(self._store.uri).lstrip("/"), name)
        if part is None:
            raise StorageError(f"{uri} is gone; it was there before: run the job again")
        return part

    def get(self, name: str, key: str) -> Part:
        """The part of that name, which an earlier stage has made.

        Raises:
            StorageError: It is not there any more.
        """
        part = self.find(name, key)
        if part is None:
            raise StorageError(
                f"{self._store.uri}/{self._at(name)} is gone or belongs to other data; it was"
                " there before: run the job again"
            )
        return part

    @contextmanager
    def make(self, name: str, key: str) -> Iterator[Draft]:
        """Make a part; it appears whole when the block ends without an error, or not at all.

        Raises:
            StorageError: The disk is full or the store fails.
        """
        folder = self._scratch / self._prefix.rpartition("/")[2] / name
        shutil.rmtree(folder, ignore_errors=True)
        try:
            with storage_errors(str(folder), "write"):
                folder.mkdir(parents=True)
            draft = Draft(folder)
            with full_disk_errors(str(folder)):
                yield draft
            notes = {"key": key, "counts": draft.counts, "facts": draft.facts}
            with storage_errors(str(folder), "write"):
                (folder / _NOTES).write_text(json.dumps(notes, indent=1, sort_keys=True) + "\n")
            self._store.publish_content(folder, self._at(name))
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _at(self, name: str) -> str:
        return f"{self._prefix}/{name}"
