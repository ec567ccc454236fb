"""The shuffle stage: the vectors of a run's media, by digest, in buckets for the clustering.

Buckets cut the range of digests evenly, and rows within one are sorted by digest, so all rows of
all buckets are in the order of their digests: neighbours are a random sample of the media.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mmrlhf_jobs.data.identity import digest_of
from mmrlhf_jobs.errors import StorageError
from mmrlhf_jobs.sampling.clustering.grid import Vectors
from mmrlhf_jobs.sampling.clustering.points import KEY_BYTES, Bucket
from mmrlhf_jobs.sampling.embeddings.embedding import MEDIA_FILE
from mmrlhf_jobs.sampling.embeddings.store import VectorStore
from mmrlhf_jobs.sampling.parts import Part, Parts
from mmrlhf_jobs.storage.uris import storage_errors

__all__ = ["KEYS_FILE", "VECTORS_FILE", "WantedMedia", "shuffle"]

VECTORS_FILE: Final = "vectors.npy"
KEYS_FILE: Final = "keys.npy"

_BUCKET_ROWS: Final = 65_536
_VERSION: Final = 1
_BATCH_ROWS: Final = 65_536
_WRITTEN_ROWS: Final = 4_096
_EMPTY: Final = np.dtype((np.float32, (0,)))


class WantedMedia:
    """The distinct media of a run that have a vector, sorted, on disk.

    Digests are gathered in files of a scratch folder, one for each first byte, so memory holds a
    256th of them at a time.

    Args:
        parts: Media parts of the embed stage, any order.
        scratch: Local folder, emptied first.

    Attributes:
        digests: S32[N], sorted; a memory map.
    """

    def __init__(self, parts: Iterable[Part], scratch: Path) -> None:
        shutil.rmtree(scratch, ignore_errors=True)
        with storage_errors(str(scratch), "write"):
            scratch.mkdir(parents=True)
            for part in parts:
                with part.table(MEDIA_FILE) as table:
                    for batch in table.iter_batches(_BATCH_ROWS, columns=["sha256", "status"]):
                        status = np.array(batch.column("status").to_pylist())
                        named = batch.column("sha256").to_pylist()
                        good = np.array(named, "S32")[status == "ok"]
                        _append(scratch, good, _leading(good) >> np.uint32(24))
            path = scratch / "digests"
            with path.open("wb") as file:
                for number in range(256):
                    if (piece := scratch / str(number)).exists():
                        file.write(np.unique(np.fromfile(piece, "S32")).tobytes())
                        piece.unlink()
            size = path.stat().st_size // KEY_BYTES
            empty = np.empty(0, "S32")
            self.digests: npt.NDArray[np.bytes_] = (
                np.memmap(path, "S32", mode="r", shape=(size,)) if size else empty
            )

    def buckets(self) -> list[npt.NDArray[np.bytes_]]:
        """The digests of each bucket; how many there are follows from the number of media."""
        count = max(-(-len(self.digests) // _BUCKET_ROWS), 1)
        bounds = [number * 2**32 // count for number in range(count + 1)]
        first = [np.bytes_(bound.to_bytes(4, "big")) for bound in bounds[:-1]]
        places = [*np.searchsorted(self.digests, first), len(self.digests)]
        places[0] = 0
        return [self.digests[start:stop] for start, stop in itertools.pairwise(places)]


def shuffle(
    wanted: WantedMedia,
    store: VectorStore,
    parts: Parts,
    *,
    scratch: Path,
    mine: slice = slice(None),
) -> list[Part]:
    """Make buckets, unless that is done already.

    All vectors of the store are passed over once; those of the buckets wait in scratch files, so
    memory holds the keys of one bucket at a time.

    Args:
        wanted: The media.
        store: Their vectors.
        parts: Those of this stage.
        scratch: Local folder, emptied first and last.
        mine: Which buckets this process makes, of all.

    Returns:
        Its buckets, each with :data:`VECTORS_FILE` ([N, D], in the format of the store),
        :data:`KEYS_FILE` (uint8[N, 32]) and the count ``vectors``.

    Raises:
        StorageError: A vector is not there any more, or the store or the disk fails.
    """
    every = wanted.buckets()
    numbers = list(range(len(every)))[mine]
    keys = {number: _key(every, number, store.key) for number in numbers}
    missing = [n for n in numbers if parts.find(_name(n), keys[n]) is None]
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        with storage_errors(str(scratch), "write"):
            scratch.mkdir(parents=True)
            row = _gather(every, missing, store, wanted.digests, scratch) if missing else _EMPTY
        for number in missing:
            with parts.make(_name(number), keys[number]) as draft:
                rows = _sorted_rows(every[number], scratch, row, number)
                with (draft.folder / VECTORS_FILE).open("wb") as file:
                    shape = (len(every[number]), *row.shape)
                    about = {"descr": row.base.str, "fortran_order": False, "shape": shape}
                    np.lib.format.write_array_header_1_0(file, about)
                    for some in rows:
                        file.write(some.astype(row.base).data)
                np.save(
                    draft.folder / KEYS_FILE,
                    np.frombuffer(every[number].tobytes(), np.uint8).reshape(-1, KEY_BYTES),
                )
                draft.counts["vectors"] = len(every[number])
            for path in _scratch_files(scratch, number):
                path.unlink(missing_ok=True)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return [parts.get(_name(number), keys[number]) for number in numbers]


def _gather(
    buckets: Sequence[npt.NDArray[np.bytes_]],
    numbers: Sequence[int],
    store: VectorStore,
    wanted: npt.NDArray[np.bytes_],
    scratch: Path,
) -> np.dtype[Any]:
    """Append vector and key of each row to its bucket's files; return the type of a vector."""
    ends = np.cumsum([len(bucket) for bucket in buckets])
    row = _EMPTY
    for keys, vectors in store.read(wanted):
        row = np.dtype((vectors.dtype, vectors.shape[1:]))
        homes = np.searchsorted(ends, np.searchsorted(wanted, keys), side="right")
        for number in np.intersect1d(homes, numbers):
            mine = homes == number
            for path, content in zip(
                _scratch_files(scratch, number), (vectors[mine], keys[mine]), strict=True
            ):
                with path.open("ab") as file:
                    file.write(content.tobytes())
    return row


def _sorted_rows(
    wanted: npt.NDArray[np.bytes_], scratch: Path, row: np.dtype[Any], number: int
) -> Iterator[Vectors]:
    """The rows of a bucket in the order of their digests, some at a time."""
    path, keys_path = _scratch_files(scratch, number)
    found = np.fromfile(keys_path, "S32") if keys_path.exists() else np.empty(0, "S32")
    keys, first, counts = np.unique(found, return_index=True, return_counts=True)
    if not np.array_equal(keys, wanted):
        lost = np.setdiff1d(wanted, keys)[0]
        raise StorageError(
            f"bucket {number}: the store of vectors has {len(keys)} of {len(wanted)} media; the"
            f" first without one has the sha256 {bytes(lost).ljust(KEY_BYTES, bytes(1)).hex()}."
            " Were embeddings removed? Run the job again"
        )
    gathered = Bucket(path, keys_path, len(found), math.prod(row.shape), row.base, offset=0)
    # Bytes that are an image as well as a video have two vectors: the lower one, by its bytes.
    order, starts = np.argsort(found, kind="stable"), np.cumsum(counts) - counts
    for place in np.flatnonzero(counts > 1):
        same = order[starts[place] : starts[place] + counts[place]]
        contents = [one.tobytes() for one in gathered.take(same)]
        first[place] = same[contents.index(min(contents))]
    for start in range(0, len(first), _WRITTEN_ROWS):
        yield gathered.take(first[start : start + _WRITTEN_ROWS])


def _scratch_files(scratch: Path, number: int) -> tuple[Path, Path]:
    """Vectors and keys of a bucket, as they come."""
    return scratch / f"{number}.vectors", scratch / f"{number}.keys"


def _leading(digests: npt.NDArray[np.bytes_]) -> npt.NDArray[np.uint32]:
    """The first four bytes as a number."""
    raw = np.frombuffer(digests.tobytes(), np.uint8).reshape(-1, KEY_BYTES)
    return raw[:, :4].copy().view(">u4")[:, 0].astype(np.uint32)


def _append(folder: Path, digests: npt.NDArray[np.bytes_], homes: npt.NDArray[np.uint32]) -> None:
    for number in np.unique(homes):
        with (folder / str(number)).open("ab") as file:
            file.write(digests[homes == number].tobytes())


def _name(number: int) -> str:
    return f"bucket-{number:05d}"


def _key(buckets: Sequence[npt.NDArray[np.bytes_]], number: int, vectors: str) -> str:
    content = hashlib.sha256(buckets[number].tobytes()).hexdigest()
    return digest_of("bucket", _VERSION, vectors, number, len(buckets), content).hex()
