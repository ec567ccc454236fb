"""A side-car in the making: parts that each appear whole, so that work that is done stays done."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mmrlhf_jobs.scores.file_format import key_array, open_file
from mmrlhf_jobs.scores.keys import KEY_BYTES, SidecarIdentity
from mmrlhf_jobs.scores.writer import SidecarWriter, merge
from mmrlhf_jobs.storage.uris import StorageOptions, locate, storage_errors

__all__ = ["SidecarParts", "Valued"]

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

    Several processes may write at once, as long as no two write the same responses.

    Args:
        uri: Folder.
        identity: What the values are computed with.
        whole: Side-car that an earlier run has finished, if it has; its values count as done.
        storage: Where the object store is, for ``s3://``.
    """

    def __init__(
        self,
        uri: str,
        identity: SidecarIdentity,
        *,
        whole: str | None = None,
        storage: StorageOptions | None = None,
    ) -> None:
        self.uri = uri.rstrip("/")
        self._whole = whole
        self._identity = identity
        self._storage = storage
        self._location = locate(self.uri, storage)

    def keys(self) -> set[bytes]:
        """Keys of all responses that have a value.

        Raises:
            SidecarError: A part belongs to another model, template or data.
        """
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
            f"{self.uri}/{name}{_SUFFIX}", self._identity, storage=self._storage
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
        return merge(self._files(), out, storage=self._storage)

    def remove(self) -> None:
        """Remove all parts; nothing there is fine."""
        with storage_errors(self.uri, "remove"):
            if self._location.fs.exists(self._location.path):
                self._location.fs.rm(self._location.path, recursive=True)

    def _files(self) -> list[str]:
        files = []
        if self._whole is not None:
            location = locate(self._whole, self._storage)
            with storage_errors(self._whole, "read"):
                files += [self._whole] if location.fs.exists(location.path) else []
        with storage_errors(self.uri, "list"):
            try:
                paths = self._location.fs.find(self._location.path)
            except (FileNotFoundError, NotADirectoryError):
                paths = []
        names = sorted(str(path).rpartition("/")[2] for path in paths)
        # Hidden names are files on their way; some stores list the folder itself.
        done = [name for name in names if name.endswith(_SUFFIX) and not name.startswith(".")]
        return files + [f"{self.uri}/{name}" for name in done]
