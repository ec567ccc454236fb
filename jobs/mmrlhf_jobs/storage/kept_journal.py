"""A journal whose results are in an artifact store as well: it outlives the machine.

::

    <key>/000002-<token>-00000017.jsonl          one result, written when it was put
    <key>/000002-<token>-00000256-folded.jsonl   all results of that writer up to there

Every result is an object of its own before `put` returns, so that a process that is killed loses
nothing that it was given. After some of them the writer folds its own into one, and whoever opens
the journal next reads few files. Names sort as the results came, so that the later one of a key
counts; what is folded and not yet removed is there twice and says the same.

Several processes of an attempt may write at once, each under a name and to a local file of its own;
they see what others have put when they catch up.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Self

from mmrlhf_jobs.errors import DamagedError
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from mmrlhf_jobs.storage.journal import Journal

__all__ = ["KeptJournal"]

_FOLD: Final = 256
"""Results of a writer that are folded into one file."""


class KeptJournal(Journal):
    """Results by key, on a local disk and in a store.

    Args:
        path: Local file; it may be lost.
        store: Where the results are kept.
        key: Folder in it.
        writer: Name of this writer, which sorts behind those before it.

    Raises:
        DamagedError: A file of the store is no part of a journal.
        StorageError: The disk or the store fails.
    """

    def __init__(self, path: str | Path, store: ArtifactStore, key: str, *, writer: str) -> None:
        super().__init__(path)
        self._store = store
        self._folder = key
        self._writer = writer
        self._number = 0
        self._own: list[str] = []
        self._lines: list[str] = []
        self._seen: set[str] = set()
        self.catch_up()

    def __enter__(self) -> Self:
        return self

    def catch_up(self) -> None:
        """Take in what others have put, or earlier attempts.

        Raises:
            DamagedError: A file of the store is no part of a journal.
            StorageError: The disk or the store fails.
        """
        self.put_all(self._read())

    def put(self, key: str, value: Mapping[str, Any]) -> None:
        """Keep a result, in place of an earlier one; it is in the store when this returns.

        Raises:
            SupersededError: Another attempt has taken over.
            StorageError: The store fails, or the disk does.
        """
        self._number += 1
        line = json.dumps([key, value]) + "\n"
        name = f"{self._folder}/{self._writer}-{self._number:08d}"
        self._store.write_text(f"{name}.jsonl", line)
        self.put_all([(key, value)])
        self._seen.add(f"{name}.jsonl")
        self._own.append(f"{name}.jsonl")
        self._lines.append(line)
        if len(self._own) == _FOLD:
            self._seen.add(f"{name}-folded.jsonl")
            self._store.write_text(f"{name}-folded.jsonl", "".join(self._lines))
            for one in self._own:
                self._store.remove(one)
            self._own, self._lines = [], []

    def _read(self) -> Iterator[tuple[str, dict[str, Any]]]:
        waiting = self._unread()
        while waiting:
            name = waiting.pop(0)
            text = self._store.read_text(name)
            if text is None:  # its writer has folded it since, into a file that is there
                waiting = self._unread()
                continue
            self._seen.add(name)
            lines = text.removesuffix("\n").split("\n")
            for number, line in enumerate(lines, 1):
                try:
                    key, value = json.loads(line)
                    yield str(key), dict(value)
                except (TypeError, ValueError, RecursionError) as error:
                    raise DamagedError(
                        f"{self._store.uri}/{name}, line {number} is no result of a journal"
                        f" ({error}); remove the file to ask again for what it held"
                    ) from error

    def _unread(self) -> list[str]:
        """Files that are there and were not read, in order; none that a writer is just making.

        On a file system those have hidden names, also what a killed writer has left of them.
        """
        there = self._store.sizes(self._folder).keys() - self._seen
        return sorted(name for name in there if not name.rpartition("/")[2].startswith("."))
