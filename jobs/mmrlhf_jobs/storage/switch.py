"""A small text that several may change: of changes to the same state one is made, at once.

On a local file system a change is a rename, and changes wait for each other by a lock on a hidden
file, which the system lets go of when its holder dies. In an object store it is a write with a
condition (``If-Match``, ``If-None-Match``). A store that does not keep conditions is found out
before the first write.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import uuid4

from mmrlhf_jobs.errors import DamagedError, InputError, StorageError
from mmrlhf_jobs.storage.folders import write_durably
from mmrlhf_jobs.storage.uris import StorageOptions, locate, storage_errors

__all__ = ["State", "Switch"]

_NOT_THERE: Final = (FileNotFoundError, NotADirectoryError)


@dataclass(frozen=True)
class State:
    """What a switch holds.

    Attributes:
        text: Its text; no two changes may have the same one.
        tag: What the store knows this state by.
    """

    text: str
    tag: str


class Switch:
    """One text at a URI.

    Args:
        uri: A path, ``file://`` or ``s3://``.
        options: Where the object store is, for ``s3://``.

    Raises:
        InputError: There is no such store.
    """

    def __init__(self, uri: str, options: StorageOptions | None = None) -> None:
        self.uri = uri
        self._place = locate(uri, options)
        if not self._place.is_local and not uri.startswith(("s3://", "s3a://")):
            raise InputError(f"{uri}: cannot be changed by several: use a path, file:// or s3://")

    def read(self) -> State | None:
        """The state as it is, the old or the new one during a change; None if there is none.

        Raises:
            StorageError: The store fails.
            DamagedError: What is there is no text.
        """
        with storage_errors(self.uri, "read"):
            try:
                if self._place.is_local:
                    content, tag = Path(self._place.path).read_bytes(), ""
                else:
                    content, tag = self._place.fs.cat_tagged(self._place.path)
            except _NOT_THERE:
                return None
        try:
            return State(content.decode(), tag)
        except UnicodeDecodeError as error:
            raise DamagedError(f"{self.uri} is damaged: it is no UTF-8 text") from error

    def change(self, text: str, *, of: State | None) -> bool:
        """Put a text in place of a state, or, with None, where there is none.

        Returns:
            Whether that was done; else another change came first, and nothing was.

        Raises:
            StorageError: The store fails, or does not keep conditions; the old text stays.
            InputError: It may not be written.
        """
        with storage_errors(self.uri, "write"):
            if self._place.is_local:
                return self._change_file(text, of)
            self._try_conditions()
            if self._place.fs.put_if(
                self._place.path, text.encode(), None if of is None else of.tag
            ):
                return True
        # The answer to a request that was made may have been lost, and it was made again.
        now = self.read()
        return now is not None and now.text == text

    def _change_file(self, text: str, of: State | None) -> bool:
        path = Path(self._place.path)
        with _locked(path.parent / f".{path.name}.lock"):
            now = self.read()
            if (now and now.text) != (of and of.text):
                return False
            write_durably(path, text.encode())
        return True

    def _try_conditions(self) -> None:
        """Find out whether the store keeps conditions, by an object of this change's own.

        Raises:
            StorageError: It does not.
        """
        fs, probe = self._place.fs, f"{self._place.path}.probe-{uuid4().hex[:12]}"
        try:
            kept = fs.put_if(probe, b"one", None) and not fs.put_if(probe, b"two", None)
            kept = kept and not fs.put_if(probe, b"two", '"0123456789abcdef0123456789abcdef"')
        finally:
            fs.rm_file(probe)
        if not kept:
            raise StorageError(
                f"{self.uri}: its store does not keep conditions on writes (If-Match,"
                " If-None-Match), so two changes could undo each other; nothing was changed: use"
                " a store that does, such as AWS S3, MinIO or SeaweedFS"
            )


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
