from __future__ import annotations

import io
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmrlhf_jobs.errors import StorageError
from mmrlhf_jobs.sampling.clustering.grid import Vectors
from mmrlhf_jobs.sampling.clustering.points import Bucket
from mmrlhf_jobs.sampling.corpora.media import MediaRef
from mmrlhf_jobs.sampling.embeddings import shuffling
from mmrlhf_jobs.sampling.embeddings.embedding import MEDIA_FILE, MEDIA_SCHEMA
from mmrlhf_jobs.sampling.embeddings.index import Known
from mmrlhf_jobs.sampling.embeddings.shuffling import (
    KEYS_FILE,
    VECTORS_FILE,
    WantedMedia,
    shuffle,
)
from mmrlhf_jobs.sampling.embeddings.store import VectorStore
from mmrlhf_jobs.sampling.parts import Part, Parts
from mmrlhf_jobs.storage.artifacts import ArtifactStore

COUNT, WIDTH = 300, 6


class World:
    """A store of vectors, and media parts that name most of them."""

    def __init__(self, folder: Path, *, dtype: Literal["float32", "float16"] = "float32") -> None:
        self.folder = folder
        self.artifacts = ArtifactStore(str(folder / "out"))
        self.store = VectorStore(self.artifacts, "encoder", scratch=folder / "store", dtype=dtype)
        draw = np.random.default_rng(0)
        self.digests = draw.integers(1, 256, (COUNT, 32), np.uint8)
        self.digests[::9, 30:] = 0
        self.vectors = draw.random((COUNT, WIDTH)).astype(np.float32)
        for start in range(0, COUNT, 70):
            self.add(slice(start, start + 70))
        self.add(slice(0, 5))  # what two processes have embedded at once
        self.add(slice(0, 5), pts_ms=0, more=3)  # and what is a video as well

    def parts(self, stage: str) -> Parts:
        scratch = self.folder / "parts"
        return Parts(self.artifacts, f"run/work/{stage}", scratch=scratch)

    def add(self, some: slice, *, pts_ms: float | None = None, more: float = 0) -> None:
        known = [Known(row.tobytes(), 1, 1, pts_ms) for row in self.digests[some]]
        self.store.add(known, self.vectors[some] + np.float32(more))

    def media(self, names: list[bytes]) -> Part:
        rows = [
            {**MediaRef(str(place)).as_row(), "sha256": name, "status": "ok" if name else "failed"}
            for place, name in enumerate([*names, None])
        ]
        with self.parts("media").make("block", "key") as draft:
            pq.write_table(pa.Table.from_pylist(rows, MEDIA_SCHEMA), draft.folder / MEDIA_FILE)
        return self.parts("media").get("block", "key")

    def shuffle(self, media: Part) -> list[Part]:
        return shuffle(
            WantedMedia([media], self.folder / "wanted"),
            self.store,
            self.parts("buckets"),
            scratch=self.folder / "rows",
        )


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_buckets_are_sorted_by_digest_and_written_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: Literal["float32", "float16"]
) -> None:
    taken: list[int] = []
    take = Bucket.take

    def watched(bucket: Bucket, numbers: npt.NDArray[np.integer]) -> Vectors:
        taken.append(len(numbers))
        return take(bucket, numbers)

    monkeypatch.setattr(Bucket, "take", watched)
    monkeypatch.setattr(shuffling, "_BUCKET_ROWS", 64)
    monkeypatch.setattr(shuffling, "_WRITTEN_ROWS", 16)
    world = World(tmp_path, dtype=dtype)
    wanted = [row.tobytes() for row in world.digests[:250]]
    made = world.shuffle(world.media([*wanted, *wanted[:9]]))
    assert len(made) == 4
    keys, rows = b"", []
    for part in made:
        folder = Path(part.uri)
        found = np.load(folder / VECTORS_FILE)
        assert part.counts["vectors"] == len(found)
        buffer = io.BytesIO()
        np.save(buffer, found)
        assert buffer.getvalue() == (folder / VECTORS_FILE).read_bytes()
        keys += np.load(folder / KEYS_FILE).tobytes()
        rows.append(found)
    order = sorted(range(250), key=lambda place: wanted[place])
    assert keys == b"".join(wanted[place] for place in order)
    assert rows[0].dtype == dtype
    expected = world.vectors.astype(dtype)
    for place in range(5):
        both = [(world.vectors[place] + np.float32(more)).astype(dtype) for more in (0, 3)]
        expected[place] = min(both, key=lambda one: one.astype(np.float32).tobytes())
    assert np.array_equal(np.concatenate(rows), expected[order])
    assert sum(taken) == 250 + 3 * 5
    assert max(taken) == 16
    assert not (tmp_path / "rows").exists()


def test_a_vector_that_is_gone_is_named(tmp_path: Path) -> None:
    world = World(tmp_path)
    lost = bytes(31) + b"\x01"
    media = world.media([*(row.tobytes() for row in world.digests), lost])
    with pytest.raises(StorageError, match=rf"has 300 of 301 media; the first .* {lost.hex()}"):
        world.shuffle(media)
