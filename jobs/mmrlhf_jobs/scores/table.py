"""Reading of side-cars: all keys and values in memory, 40 bytes a response."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from mmrlhf_jobs.errors import SidecarError
from mmrlhf_jobs.scores.file_format import KeyArray, ValueArray, key_array, open_file
from mmrlhf_jobs.scores.keys import KEY_BYTES, SidecarIdentity
from mmrlhf_jobs.storage.uris import StorageOptions

__all__ = ["Sidecar"]

_BATCH_ROWS: Final = 65_536
_DTYPE: Final = np.dtype(f"S{KEY_BYTES}")


class Sidecar:
    """Values by key, sorted for binary search.

    Args:
        uri: Where it was read from, for messages.
        identity: What the values were computed with.
        keys: S32[N], any order.
        values: float64[N], finite.
    """

    def __init__(
        self, uri: str, identity: SidecarIdentity, *, keys: KeyArray, values: ValueArray
    ) -> None:
        order = np.argsort(keys, kind="stable")
        self.uri = uri
        self.identity = identity
        self._keys = keys[order]
        self._values = values[order]
        repeated = np.flatnonzero(self._keys[1:] == self._keys[:-1])
        clash = repeated[self._values[repeated] != self._values[repeated + 1]]
        if len(clash):
            first = int(clash[0])
            raise SidecarError(
                f"{uri}: {len(clash)} responses have two different values, the first with key"
                f" {_hex(self._keys[first])}: {self._values[first]!r} and"
                f" {self._values[first + 1]!r}; compute the side-car again"
            )

    @classmethod
    def open(
        cls, uri: str, expect: SidecarIdentity, *, storage: StorageOptions | None = None
    ) -> Sidecar:
        """Read a side-car and check that it belongs to this job.

        Args:
            uri: Parquet file.
            expect: What this job needs; fields that are None are not checked.
            storage: Where the object store is, for ``s3://``.

        Raises:
            SidecarError: The file is missing or damaged, has another identity (the message names
                the field, both values and what to do), holds a value that is not finite, or two
                different values for one response.
        """
        file, identity = open_file(uri, storage)
        with file:
            expect.check(identity, uri)
            rows = file.metadata.num_rows
            keys = np.empty(rows, _DTYPE)
            values = np.empty(rows, np.float64)
            start = 0
            for batch in file.iter_batches(_BATCH_ROWS, columns=["key", "value"]):
                stop = start + len(batch)
                if batch.column(0).null_count or batch.column(1).null_count:
                    raise SidecarError(f"{uri}: rows {start + 1} to {stop} hold a null")
                keys[start:stop] = key_array(batch.column(0))
                values[start:stop] = batch.column(1).to_numpy()
                start = stop
        finite = np.isfinite(values)
        if not finite.all():
            row = int(np.flatnonzero(~finite)[0])
            raise SidecarError(f"{uri}, row {row + 1}: value {values[row]} is not finite")
        return cls(uri, identity, keys=keys, values=values)

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def digest(self) -> str:
        """Digest of keys and values, 64 hexadecimal digits, whatever the order in the file."""
        content = hashlib.sha256(self._keys.tobytes())
        content.update(self._values.tobytes())
        return content.hexdigest()

    def lookup(self, keys: Sequence[bytes], *, names: Sequence[str] | None = None) -> ValueArray:
        """Values of responses.

        Args:
            keys: Keys of N responses (:func:`mmrlhf_jobs.scores.keys.content_key`).
            names: What to call each in a message, such as ``record 'r1', response 'a'``.

        Returns:
            Values in the order of the keys, float64[N].

        Raises:
            SidecarError: A response has no value here.
        """
        places, found = self._search(keys)
        if not found.all():
            absent = np.flatnonzero(~found)
            first = int(absent[0])
            name = (
                names[first] if names is not None else f"the response with key {keys[first].hex()}"
            )
            raise SidecarError(
                f"{self.uri}: has no value for {name} ({len(absent)} of {len(keys)} looked up are"
                f" missing); the {self.identity.kind} side-car was made from other data: compute"
                " it for this data set"
            )
        return self._values[places]

    def lacking(self, keys: Sequence[bytes]) -> list[int]:
        """Places of the keys that have no value here."""
        return [int(place) for place in np.flatnonzero(~self._search(keys)[1])]

    def _search(self, keys: Sequence[bytes]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Places of keys, int64[N], and whether they are there, bool[N]."""
        wanted = np.array(keys, _DTYPE)
        places = np.asarray(np.searchsorted(self._keys, wanted), np.int64)
        found = np.zeros(len(wanted), bool)
        inside = places < len(self._keys)
        found[inside] = self._keys[places[inside]] == wanted[inside]
        return places, found


def _hex(key: np.bytes_) -> str:
    return bytes(key).ljust(KEY_BYTES, b"\0").hex()
