"""Parts: what a stage has finished, kept for the next stage and for the next attempt.

A part is an artifact (a folder with a commit marker, see ``storage.artifacts``) that holds the
stage's files and ``part.json``: the key of what it was made from, counts, and facts. A part whose
key matches is not made again, so a run that was killed goes on where it stopped. One name has one
writer at a time; different names may be written by different processes at once.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from mmrlhf_jobs.errors import StorageError
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from mmrlhf_jobs.storage.uris import StorageOptions, locate, storage_errors

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
        storage: How to reach an object store.
    """

    uri: str
    name: str
    key: str
    counts: Mapping[str, int]
    facts: Mapping[str, Any]
    storage: StorageOptions | None = None

    @contextmanager
    def open(self, file: str) -> Iterator[IO[bytes]]:
        """Open one of its files.

        Raises:
            StorageError: It is not there, or the store does not answer.
        """
        uri = f"{self.uri}/{file}"
        location = locate(uri, self.storage)
        with storage_errors(uri, "read"), location.fs.open(location.path, "rb") as handle:
            yield handle

    @contextmanager
    def table(self, file: str) -> Iterator[pq.ParquetFile]:
        """Open one of its Parquet files; row groups are read as they are asked for.

        Raises:
            StorageError: It is not there, or the store does not answer.
        """
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
        """The part of that name, if it is whole and was made from the same."""
        if not self._store.is_committed(self._at(name)):
            return None
        text = self._store.read_text(f"{self._at(name)}/{_NOTES}")
        try:
            notes = json.loads(text or "")
            part = self._part(name, notes["key"], notes["counts"], notes["facts"])
        except (KeyError, TypeError, ValueError) as error:
            raise StorageError(
                f"{self._store.uri}/{self._at(name)}/{_NOTES} is damaged ({error}); remove the"
                " folder"
            ) from error
        return part if part.key == key else None

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
            yield draft
            notes = {"key": key, "counts": draft.counts, "facts": draft.facts}
            with storage_errors(str(folder), "write"):
                (folder / _NOTES).write_text(json.dumps(notes, indent=1, sort_keys=True) + "\n")
            self._store.remove(self._at(name))  # one of another key, or what a kill left
            self._store.publish(folder, self._at(name))
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _part(
        self, name: str, key: str, counts: Mapping[str, int], facts: Mapping[str, Any]
    ) -> Part:
        uri = f"{self._store.uri}/{self._at(name)}"
        return Part(uri, name, key, counts, facts, self._storage)

    def _at(self, name: str) -> str:
        return f"{self._prefix}/{name}"
