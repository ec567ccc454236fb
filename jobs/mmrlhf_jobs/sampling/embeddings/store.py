"""Vectors by the content of their media, kept for later runs with the same encoder.

They are in parts below ``embeddings/<key>``: ``media.npy`` names the media, ``vectors.npy``
holds one row for each. A part is named by its media, so equal parts of several runs are one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from mmrlhf_jobs.data.identity import digest_of
from mmrlhf_jobs.errors import StorageError
from mmrlhf_jobs.sampling.clustering.grid import Vectors
from mmrlhf_jobs.sampling.corpora.media import MediaKind
from mmrlhf_jobs.sampling.embeddings.index import Known, MediaIndex
from mmrlhf_jobs.sampling.parts import Part, Parts
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from mmrlhf_jobs.storage.uris import StorageOptions

__all__ = ["VectorStore"]

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


class VectorStore:
    """Vectors of one encoder, and an index of them in the scratch folder.

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
        self._prefix = f"{_PREFIX}/{self.key[:32]}"
        self._parts = Parts(store, self._prefix, scratch=scratch, storage=storage)
        self._index = MediaIndex(scratch / "known-media.sqlite")

    def refresh(self) -> None:
        """Note what all processes have committed."""
        for name in self.names():
            part = self._parts.get(name, self.key)
            self._index.add(map(_known, _load(part, "media.npy")))

    def find(self, sha256: bytes, kind: MediaKind) -> Known | None:
        """What is known of a medium, if its vector is there; from any thread."""
        return self._index.find(sha256, kind)

    def forget(self) -> None:
        """Give up the index; vectors can still be read."""
        self._index.close()

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
        named = b"".join(one.sha256 + one.kind.encode() for one in media)
        name = hashlib.sha256(named).hexdigest()[:32]
        if self._parts.find(name, self.key) is None:
            with self._parts.make(name, self.key) as draft:
                np.save(draft.folder / "media.npy", _about(media))
                np.save(draft.folder / "vectors.npy", vectors.astype(self._dtype))
                draft.counts["vectors"] = len(media)
        self._index.add(media)

    def names(self) -> list[str]:
        """Names of all parts below the folder of the encoder, sorted."""
        keys = self._store.list_committed(self._prefix)
        return [key.removeprefix(f"{self._prefix}/") for key in keys]

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
            part = self._parts.get(name, self.key)
            keys = _load(part, "media.npy")["sha256"]
            places = np.minimum(np.searchsorted(wanted, keys), max(len(wanted) - 1, 0))
            mine = np.flatnonzero(wanted[places] == keys) if len(wanted) else np.empty(0, int)
            if len(mine):
                yield keys[mine], _load(part, "vectors.npy")[mine]


def _load(part: Part, file: str) -> npt.NDArray[Any]:
    with part.open(file) as content:
        try:
            array: npt.NDArray[Any] = np.load(content, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise StorageError(
                f"{part.uri}/{file} is damaged: {error}; remove its folder"
            ) from error
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


def _known(row: np.void) -> Known:
    pts = float(row["pts_ms"])
    return Known(
        bytes(row["sha256"]).ljust(32, b"\0"),  # NumPy takes zeros off the ends
        int(row["width"]),
        int(row["height"]),
        None if np.isnan(pts) else pts,
        bool(row["black_start"]),
    )
