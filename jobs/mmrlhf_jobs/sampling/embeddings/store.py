"""Vectors by the content of their media, kept for later runs with the same encoder.

They are in parts below ``embeddings/<key>``: ``media.npy`` names the media, ``vectors.npy``
holds one row for each. A part is named by its media, so equal parts of several runs are one.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from mmrlhf_jobs.data.identity import digest_of
from mmrlhf_jobs.errors import StorageError
from mmrlhf_jobs.sampling.clustering.grid import Vectors
from mmrlhf_jobs.sampling.corpora.media import MediaKind
from mmrlhf_jobs.sampling.parts import Parts
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from mmrlhf_jobs.storage.uris import StorageOptions, locate, storage_errors

__all__ = ["Known", "VectorStore"]

_ABOUT: Final = np.dtype(
    [
        ("sha256", "S32"),
        ("width", "<i4"),
        ("height", "<i4"),
        ("pts_ms", "<f8"),
        ("black_start", "?"),
    ]
)
_PREFIX: Final = "embeddings"


@dataclass(frozen=True)
class Known:
    """What is kept of a medium beside its vector.

    Attributes:
        sha256: Digest of its bytes, 32 bytes.
        width: Width of the picture in the file.
        height: Height of it.
        pts_ms: Presentation time of a video's frame, in milliseconds.
        black_start: Whether a video begins in black.
    """

    sha256: bytes
    width: int
    height: int
    pts_ms: float | None = None
    black_start: bool = False

    @property
    def kind(self) -> MediaKind:
        """What the bytes were decoded as; only frames have a time."""
        return "image" if self.pts_ms is None else "video"


class VectorStore:
    """Vectors of one encoder. The index takes 49 bytes of memory a vector.

    Args:
        store: Artifacts.
        encoder: Key of the encoder.
        scratch: Local folder of this process.
        dtype: Number format on disk. float16 takes half the space and moves each number by at most
            2^-11 of it; the grid of the clustering holds both.
        storage: How to reach an object store.

    Attributes:
        key: What its vectors depend on: the encoder, and the format if it rounds.
    """

    def __init__(
        self,
        store: ArtifactStore,
        encoder: str,
        *,
        scratch: Path,
        dtype: Literal["float32", "float16"] = "float32",
        storage: StorageOptions | None = None,
    ) -> None:
        self._store = store
        self._dtype = np.dtype(dtype)
        self.key = encoder if dtype == "float32" else digest_of("vectors", encoder, dtype).hex()
        self._storage = storage
        self._prefix = f"{_PREFIX}/{self.key[:32]}"
        self._parts = Parts(store, self._prefix, scratch=scratch, storage=storage)
        self._lock = threading.Lock()
        self._index = np.empty(0, _ABOUT)
        self._added: dict[bytes, Known] = {}

    def refresh(self) -> int:
        """Read what all processes have committed; return the number of media that are known."""
        found = [self._load(name, "media.npy") for name in self.names()]
        index = np.concatenate([np.empty(0, _ABOUT), *found])
        index = index[np.argsort(index["sha256"], kind="stable")]
        with self._lock:
            self._index = index
            self._added = {}
        return len(np.unique(index["sha256"]))

    def find(self, sha256: bytes) -> Known | None:
        """What is known of a medium, if its vector is there; from any thread."""
        with self._lock:
            if (added := self._added.get(sha256)) is not None:
                return added
            key = np.bytes_(sha256)
            place = int(np.searchsorted(self._index["sha256"], key))
            if place == len(self._index) or self._index["sha256"][place] != key:
                return None
            row = self._index[place]
        pts = float(row["pts_ms"])
        return Known(
            sha256,
            int(row["width"]),
            int(row["height"]),
            None if np.isnan(pts) else pts,
            bool(row["black_start"]),
        )

    def add(self, media: Sequence[Known], vectors: Vectors) -> None:
        """Keep vectors, all at once.

        Args:
            media: What they belong to.
            vectors: float32[len(media), D], on the grid.

        Raises:
            StorageError: The disk is full or the store fails.
        """
        if not media:
            return
        order = sorted(range(len(media)), key=lambda place: media[place].sha256)
        media, vectors = [media[place] for place in order], vectors[order]
        name = hashlib.sha256(b"".join(one.sha256 for one in media)).hexdigest()[:32]
        if self._parts.find(name, self.key) is None:
            with self._parts.make(name, self.key) as draft:
                np.save(draft.folder / "media.npy", _about(media))
                np.save(draft.folder / "vectors.npy", vectors.astype(self._dtype))
                draft.counts["vectors"] = len(media)
        with self._lock:
            self._added |= {one.sha256: one for one in media}

    def names(self) -> list[str]:
        """Names of all parts, sorted."""
        keys = self._store.list_committed(self._prefix)
        return [key.rpartition("/")[2] for key in keys]

    def read(
        self, wanted: npt.NDArray[np.bytes_]
    ) -> Iterator[tuple[npt.NDArray[np.bytes_], npt.NDArray[np.floating]]]:
        """Vectors of some media, part by part; media that are in several parts come again.

        Args:
            wanted: Digests of the media, S32, sorted; a memory map will do.

        Yields:
            Digests S32[N] and vectors [N, D] in the format on disk.
        """
        for name in self.names():
            keys = self._load(name, "media.npy")["sha256"]
            places = np.minimum(np.searchsorted(wanted, keys), max(len(wanted) - 1, 0))
            mine = np.flatnonzero(wanted[places] == keys) if len(wanted) else np.empty(0, int)
            if len(mine):
                yield keys[mine], self._load(name, "vectors.npy")[mine]

    def _load(self, name: str, file: str) -> npt.NDArray[Any]:
        uri = f"{self._store.uri}/{self._prefix}/{name}/{file}"
        location = locate(uri, self._storage)
        with storage_errors(uri, "read"), location.fs.open(location.path, "rb") as content:
            try:
                array: npt.NDArray[Any] = np.load(content, allow_pickle=False)
            except (ValueError, EOFError) as error:
                raise StorageError(f"{uri} is damaged: {error}; remove its folder") from error
        return array


def _about(media: Sequence[Known]) -> npt.NDArray[Any]:
    rows = [
        (
            one.sha256,
            one.width,
            one.height,
            np.nan if one.pts_ms is None else one.pts_ms,
            one.black_start,
        )
        for one in media
    ]
    return np.array(rows, _ABOUT)
