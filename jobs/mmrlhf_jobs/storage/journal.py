"""A file of results by key that survives a kill: what was put into it is there afterwards.

It is an SQLite database on a local file system, so that every result is on the disk before the
next one is asked for, and several runs may share one file.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final, Self

from mmrlhf_jobs.errors import InputError, StorageError

__all__ = ["Journal"]

_TABLE: Final = "CREATE TABLE IF NOT EXISTS results (key TEXT PRIMARY KEY, value TEXT NOT NULL)"
_BUSY_SECONDS: Final = 30.0
_ASK_AGAIN_SECONDS: Final = 0.01


class Journal:
    """Results by key; a key names all that its result depends on.

    Args:
        path: File, made when missing.

    Raises:
        InputError: The file is no journal, or its folder cannot be written.
        StorageError: The disk is full or fails.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(str(path).removeprefix("file://"))
        if "://" in str(path) and not str(path).startswith("file://"):
            raise InputError(
                f"{path}: a journal must be on a local file system or a mounted volume; name one"
                " there by --journal"
            )
        with self._errors("open"):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(self.path, timeout=_BUSY_SECONDS)
            self._write_ahead()
            # A result is paid for: it must outlive the machine, not only the process.
            self._database.execute("PRAGMA synchronous=FULL")
            with self._database:
                self._database.execute(_TABLE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def __len__(self) -> int:
        with self._errors("read"):
            return int(self._database.execute("SELECT count(*) FROM results").fetchone()[0])

    def get(self, key: str) -> dict[str, Any] | None:
        """The result of a key, or None.

        Raises:
            StorageError: The file cannot be read.
        """
        with (
            self._errors("read"),
            closing(
                self._database.execute("SELECT value FROM results WHERE key = ?", (key,))
            ) as rows,
        ):
            row = rows.fetchone()
        return None if row is None else json.loads(row[0])

    def catch_up(self) -> None:
        """Take in what other processes of the run have put, who must be done with it."""

    def put(self, key: str, value: Mapping[str, Any]) -> None:
        """Keep a result, in place of an earlier one; it is on the disk when this returns.

        Raises:
            StorageError: The disk is full or fails.
        """
        self.put_all([(key, value)])

    def put_all(self, results: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Keep several results, a later one in place of an earlier one of its key, or none of them.

        Raises:
            StorageError: The disk is full or fails.
        """
        with self._errors("write"), self._database:
            self._database.executemany(
                "INSERT OR REPLACE INTO results VALUES (?, ?)",
                ((key, json.dumps(value, ensure_ascii=False)) for key, value in results),
            )

    def _write_ahead(self) -> None:
        """Write changes beside the file first.

        SQLite waits for nobody where two connections could wait for each other, whatever the
        timeout (sqlite.org/c3ref/busy_handler.html): of two that open a new file at once, one is
        told that it is locked. So it is asked again, for as long as any other call would wait.
        """
        end = time.monotonic() + _BUSY_SECONDS
        while True:
            try:
                self._database.execute("PRAGMA journal_mode=WAL")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorname != "SQLITE_BUSY" or time.monotonic() > end:
                    raise
                time.sleep(_ASK_AGAIN_SECONDS)
            else:
                return

    @contextmanager
    def _errors(self, action: str) -> Iterator[None]:
        try:
            yield
        except PermissionError as error:
            raise InputError(f"{self.path}: no permission to {action} it ({error})") from error
        except (sqlite3.Error, OSError) as error:
            if isinstance(error, sqlite3.OperationalError | OSError):
                raise StorageError(f"cannot {action} {self.path}: {error}") from error
            raise InputError(
                f"{self.path}: cannot {action} it: {error}; if it is no journal, name another file"
            ) from error
