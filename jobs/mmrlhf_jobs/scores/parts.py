"""A side-car in the making: parts that each appear whole, so that work that is done stays done."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from mmrlhf_jobs.errors import StorageError
from mmrlhf_jobs.scores.file_format import key_array, open_file
from mmrlhf_jobs.scores.keys import KEY_BYTES, SidecarIdentity
from mmrlhf_jobs.scores.writer import SidecarWriter, merge
from mmrlhf_jobs.storage.folders import remove_paths
from mmrlhf_jobs.storage.uris import StorageOptions, locate, storage_errors

__all__ = ["SidecarParts", "Valued"]

T = TypeVar("T")

_SUFFIX: Final = ".parquet"


@dataclass(frozen=True)
class Valued:
    """The value of one response.

    Attributes:
        key: Key of the response.
        value: Its value.
        record_id: Its record, for people.
        response_id: Its id, for people.
        critique: Text that a reward was read after, if there is one.
    """

    key: bytes
    value: float
    record_id: str
    response_id: str
    critique: str | None = None


class SidecarParts:
    """Parts of one side-car in a folder of their own.

    Several processes may write at once, as long as no two write the same responses. Where another
    attempt may write at the same time, each has a folder of its own in this one: what `keys` has
    found there counts, what comes later is left alone.

    Args:
        uri: Folder.
        identity: What the values are computed with.
        attempt: Name of the folder of this attempt; empty: the folder itself is everybody's.
        whole: Side-car that another run has finished, if it has. Its values count as done, and
            stay where this attempt has computed the same responses meanwhile.
        storage: Where the object store is, for ``s3://``.
    """

    def __init__(
        self,
        uri: str,
        identity: SidecarIdentity,
        *,
        attempt: str = "",
        whole: str | None = None,
        storage: StorageOptions | None = None,
    ) -> None:
        self.uri = uri.rstrip("/")
        self._own = f"{attempt}/" if attempt else ""
        self._earlier: list[str] = []
        self._merged: list[str] = []
        self._whole = whole
        self._identity = identity
        self._storage = storage
        self._location = locate(self.uri, storage)

    def keys(self) -> set[bytes]:
        """Keys of all responses that have a value.

        Raises:
            SidecarError: A part belongs to another model, template or data.
        """
        self._earlier = self._names()
        return self._while_others_join(self._read_keys)

    def _read_keys(self) -> set[bytes]:
        found: set[bytes] = set()
        for part in self._files():
            file, identity = open_file(part, self._storage)
            with file:
                self._identity.check(identity, part)
                column = key_array(file.read(columns=["key"])["key"])
            found |= {bytes(key).ljust(KEY_BYTES, b"\0") for key in column}
        return found

    def write(self, values: Sequence[Valued]) -> None:
        """Add a part.

        Raises:
            SidecarError: A value is not finite; nothing is written.
            StorageError: The disk is full or the store fails; the parts so far stay.
        """
        if not values:
            return
        name = hashlib.sha256(b"".join(value.key for value in values)).hexdigest()[:32]
        with SidecarWriter(
            f"{self.uri}/{self._own}{name}{_SUFFIX}", self._identity, storage=self._storage
        ) as writer:
            for value in values:
                writer.write(
                    [value.key],
                    [value.value],
                    record_id=value.record_id,
                    response_ids=[value.response_id],
                    critiques=[value.critique],
                )

    def merge(self, out: str) -> int:
        """Join all parts into one side-car; return its number of responses.

        Raises:
            SidecarError: There are no parts.
            StorageError: The disk is full or the store fails.
        """
        return self._while_others_join(lambda: self._merge(out))

    def drop(self) -> None:
        """Remove all parts, joined or not; nothing there is fine."""
        self._merged = self._names()
        self.remove()

    def remove(self) -> None:
        """Remove the parts that were joined; nothing there is fine, and so is more."""
        with storage_errors(self.uri, "remove"):
            if self._location.is_local:
                folder = Path(self._location.path)
                files = [folder / name for name in self._merged]
                above = {parent for file in files for parent in file.relative_to(folder).parents}
                remove_paths([*files, *(folder / each for each in sorted(above, reverse=True))])
                return
            for name in self._merged:
                self._location.fs.rm_file(f"{self._location.path}/{name}")

    def _merge(self, out: str) -> int:
        files = self._files()
        # Another run of the same may have finished since `keys`, by batches of another shape.
        tolerance = math.inf if self._whole in files else 0.0
        number = merge(files, out, tolerance=tolerance, storage=self._storage)
        self._merged = [file.removeprefix(f"{self.uri}/") for file in files if file != self._whole]
        return number

    def _while_others_join(self, read: Callable[[], T]) -> T:
        """Read again if parts are gone that were there: another has joined them to the whole."""
        while True:
            files = self._files()
            try:
                return read()
            except StorageError:
                if self._files() == files:
                    raise

    def _files(self) -> list[str]:
        files = []
        if self._whole is not None:
            location = locate(self._whole, self._storage)
            with storage_errors(self._whole, "read"):
                files += [self._whole] if location.fs.exists(location.path) else []
        there = self._names()
        if self._own:
            counts = {*self._earlier, *(name for name in there if name.startswith(self._own))}
            there = [name for name in there if name in counts]
        return files + [f"{self.uri}/{name}" for name in there]

    def _names(self) -> list[str]:
        """Paths of all parts in the folder, sorted."""
        with storage_errors(self.uri, "list"):
            try:
                paths = self._location.fs.find(self._location.path)
            except (FileNotFoundError, NotADirectoryError):
                paths = []
        names = [str(path).removeprefix(self._location.path).lstrip("/") for path in paths]
        # Hidden names are files on their way; some stores list the folder itself.
        return sorted(
            name
            for name in names
            if name.endswith(_SUFFIX) and not name.rpartition("/")[2].startswith(".")
        )
