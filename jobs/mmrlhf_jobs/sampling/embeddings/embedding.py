"""The embed stage: the media of a block of rows, each as a vector in the store or a reason."""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from mmrlhf_jobs.data.identity import digest_of
from mmrlhf_jobs.sampling.clustering.grid import Vectors
from mmrlhf_jobs.sampling.corpora.media import (
    MEDIA_TYPE,
    DroppedMedia,
    MediaKind,
    MediaReader,
    MediaRef,
)
from mmrlhf_jobs.sampling.embeddings.index import Known
from mmrlhf_jobs.sampling.embeddings.store import VectorStore
from mmrlhf_jobs.sampling.images.decoders import Decoders, PreparedPicture
from mmrlhf_jobs.sampling.parts import Part, Parts

__all__ = ["MEDIA_FILE", "MEDIA_SCHEMA", "Embedder", "PictureEncoder", "media_key"]

MEDIA_FILE: Final = "media.parquet"
MEDIA_SCHEMA: Final = pa.schema(
    [
        *MEDIA_TYPE,
        ("sha256", pa.binary(32)),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("frame_pts_ms", pa.float64()),
        ("black_start", pa.bool_()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("message", pa.string()),
    ]
)
"""One row for each medium of a block, in order of first appearance. ``status`` is ok or failed."""

_VERSION: Final = 1
_KEEP_EVERY: Final = 4096


class PictureEncoder(Protocol):
    """What :class:`mmrlhf_jobs.sampling.embeddings.encoder.Encoder` gives."""

    @property
    def key(self) -> str:
        """What its vectors depend on."""

    def encode(self, pictures: list[npt.NDArray[np.uint8]]) -> tuple[Vectors, list[bool]]:
        """Vectors of pictures, and whether each is one."""


def media_key(rows_key: str, block: int, vectors: str) -> str:
    """Key of the media part of a block of rows, whose vectors are in a store of that key."""
    return digest_of("media", _VERSION, rows_key, block, vectors).hex()


@dataclass(frozen=True)
class _Failed:
    sha256: bytes | None
    reason: str
    message: str


@dataclass(frozen=True)
class _Fresh:
    kind: MediaKind
    sha256: bytes
    picture: PreparedPicture


@dataclass(frozen=True)
class _Same:
    """Another medium of the block has the same bytes, and was taken before."""

    sha256: bytes


_Outcome = Known | _Failed | _Fresh | _Same
_Found = dict[tuple[MediaKind, bytes], Known | _Failed]
"""By kind and content: the same bytes may be no image, but a video."""


@dataclass
class Embedder:
    """Embeds media.

    Attributes:
        encoder: Encodes.
        reader: Reads bytes.
        decoders: Decode.
        store: Where vectors are kept.
        batch_size: Pictures in flight; no vector depends on it.
    """

    encoder: PictureEncoder
    reader: MediaReader
    decoders: Decoders
    store: VectorStore
    batch_size: int = 256
    _parquet: threading.Lock = field(default_factory=threading.Lock)

    def embed(
        self,
        name: str,
        key: str,
        media: Iterable[MediaRef],
        parts: Parts,
        *,
        tell: Callable[[int, int], None] = lambda _more, _all: None,
    ) -> Part:
        """Embed the media of a block of rows, unless that is done already.

        Args:
            name: Name of the part.
            key: Its key, see :func:`media_key`.
            media: References, in the order of the rows; repeated ones count once.
            parts: Those of this stage.
            tell: Told how many media were done since the last call, and how many there are.

        Returns:
            A part with :data:`MEDIA_FILE` and the counts ``media``, ``embedded`` (new vectors),
            ``known`` (of earlier ones, or of the same bytes) and ``failed:<reason>``.

        Raises:
            StorageError: The store or the disk fails.
        """
        if (done := parts.find(name, key)) is not None:
            tell(done.counts["media"], done.counts["media"])
            return done
        with parts.make(name, key) as draft:
            rows = []
            found: _Found = {}
            refs = list(dict.fromkeys(media))
            outcomes = list(self._outcomes(refs, found, lambda more: tell(more, len(refs))))
            for ref, first in zip(refs, outcomes, strict=True):
                # New ones and repeated ones alike are what their bytes turned out to be.
                fresh = isinstance(first, _Fresh)
                outcome = (
                    found[ref.kind, first.sha256] if isinstance(first, _Fresh | _Same) else first
                )
                draft.count("media")
                if isinstance(outcome, _Failed):
                    draft.count(f"failed:{outcome.reason}")
                else:
                    draft.count("embedded" if fresh else "known")
                rows.append(ref.as_row() | _columns(outcome))
            table = pa.Table.from_pylist(rows, MEDIA_SCHEMA)
            pq.write_table(table, draft.folder / MEDIA_FILE, compression="zstd")
        return parts.get(name, key)

    def _outcomes(
        self,
        refs: list[MediaRef],
        found: _Found,
        tell: Callable[[int], None],
    ) -> Iterator[_Outcome]:
        """What becomes of each medium; what is new is encoded, kept and added to ``found``."""
        taken: set[tuple[MediaKind, bytes]] = set()
        lock = threading.Lock()

        def take(kind: MediaKind, sha256: bytes) -> bool:
            with lock:
                new = (kind, sha256) not in taken
                taken.add((kind, sha256))
                return new

        fresh: list[_Fresh] = []
        kept: list[tuple[Known, Vectors]] = []
        left = iter(refs)
        with ThreadPoolExecutor(self.decoders.processes + 1) as pool:
            flight: deque[tuple[MediaKind, Future[_Outcome]]] = deque()

            def start(count: int) -> None:
                for ref in islice(left, count):
                    flight.append((ref.kind, pool.submit(self._prepare, ref, take)))

            start(self.batch_size)
            try:
                while flight:
                    kind, future = flight.popleft()
                    outcome = future.result()
                    start(1)
                    tell(1)
                    if isinstance(outcome, _Fresh):
                        fresh.append(outcome)
                        outcome = replace(outcome, picture=_EMPTY)  # its pixels are held once
                    elif not isinstance(outcome, _Same) and outcome.sha256 is not None:
                        found[kind, outcome.sha256] = outcome
                    if len(fresh) >= self.batch_size:
                        kept += self._encode(fresh, found)
                        fresh = []
                    if len(kept) >= _KEEP_EVERY:
                        self._keep(kept)
                        kept = []
                    yield outcome
            finally:
                for _, future in flight:
                    future.cancel()
        self._keep([*kept, *self._encode(fresh, found)])

    def _prepare(self, ref: MediaRef, take: Callable[[MediaKind, bytes], bool]) -> _Outcome:
        sha256: bytes | None = None
        try:
            with self._parquet if ref.column is not None else nullcontext():
                content = self.reader.read(ref)
            sha256 = hashlib.sha256(content).digest()
            if not take(ref.kind, sha256):
                return _Same(sha256)
            if (known := self.store.find(sha256, ref.kind)) is not None:
                return known
            return _Fresh(ref.kind, sha256, self.decoders.decode(content, ref.kind))
        except DroppedMedia as error:
            return _Failed(sha256, error.reason, error.message)

    def _encode(self, fresh: list[_Fresh], found: _Found) -> list[tuple[Known, Vectors]]:
        if not fresh:
            return []
        vectors, good = self.encoder.encode([one.picture.pixels for one in fresh])
        kept = []
        for one, vector, is_good in zip(fresh, vectors, good, strict=True):
            if not is_good:
                found[one.kind, one.sha256] = _Failed(
                    one.sha256, "zero-vector", "has no direction: its vector is zero or not finite"
                )
                continue
            picture = one.picture
            known = Known(
                one.sha256, picture.width, picture.height, picture.pts_ms, picture.black_start
            )
            found[one.kind, one.sha256] = known
            kept.append((known, vector))
        return kept

    def _keep(self, kept: list[tuple[Known, Vectors]]) -> None:
        if kept:
            self.store.add([known for known, _ in kept], np.stack([vector for _, vector in kept]))


_EMPTY: Final = PreparedPicture(np.empty(0, np.uint8), 0, 0)


def _columns(outcome: Known | _Failed) -> dict[str, Any]:
    if isinstance(outcome, _Failed):
        return {
            "sha256": outcome.sha256,
            "status": "failed",
            "reason": outcome.reason,
            "message": outcome.message,
        }
    return {
        "sha256": outcome.sha256,
        "width": outcome.width,
        "height": outcome.height,
        "frame_pts_ms": outcome.pts_ms,
        "black_start": outcome.black_start,
        "status": "ok",
    }
