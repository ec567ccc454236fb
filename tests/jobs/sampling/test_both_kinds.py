"""The same bytes named as an image by one row and as a video by another."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mmrlhf_jobs.sampling.corpora.media import MediaReader, MediaRef
from mmrlhf_jobs.sampling.embeddings.embedding import MEDIA_FILE, Embedder
from mmrlhf_jobs.sampling.embeddings.shuffling import VECTORS_FILE, WantedMedia, shuffle
from mmrlhf_jobs.sampling.embeddings.store import VectorStore
from mmrlhf_jobs.sampling.images.decoders import Preparation
from mmrlhf_jobs.sampling.parts import Parts
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from tests.jobs.sampling.here import DecodersHere
from tests.unit.sampling.pictures import encoded, video


class Corner:
    """Encodes a picture as the colour of its corner."""

    key = "corner"

    def encode(self, pictures: list[np.ndarray]) -> tuple[np.ndarray, list[bool]]:
        """Vectors of length 1."""
        rows = np.array([one[0, 0] for one in pictures], np.float32) + 1
        return rows / np.linalg.norm(rows, axis=1, keepdims=True), [True] * len(rows)


@pytest.fixture(scope="module")
def refs(tmp_path_factory: pytest.TempPathFactory) -> list[MediaRef]:
    """A video, and a picture that both decoders read, each a little otherwise, as both kinds."""
    folder = tmp_path_factory.mktemp("media")
    (folder / "a.mp4").write_bytes(video([(200, 30, 90), (0, 0, 200)]))
    still = Image.new("RGB", (16, 16), (201, 33, 97))
    (folder / "a.webp").write_bytes(encoded(still, "WEBP"))
    return [
        MediaRef(str(folder / name), kind=kind)
        for name in ("a.mp4", "a.webp")
        for kind in ("image", "video")
    ]


@pytest.mark.parametrize("blocks", [1, 2, 4])
def test_what_becomes_of_them_does_not_depend_on_which_comes_first(
    refs: list[MediaRef], tmp_path: Path, blocks: int
) -> None:
    found: set[tuple[object, ...]] = set()
    for number, order in enumerate(itertools.permutations(refs)):
        artifacts = ArtifactStore(str(tmp_path / str(number)))
        scratch = tmp_path / "scratch"
        media, buckets = (Parts(artifacts, name, scratch=scratch) for name in ("media", "buckets"))
        store = VectorStore(artifacts, Corner.key, scratch=scratch)
        decoders = DecodersHere(Preparation(np.asarray), 1)
        size = len(order) // blocks
        parts = [
            Embedder(Corner(), MediaReader(), decoders, store).embed(
                str(start), "key", order[start : start + size], media
            )
            for start in range(0, len(order), size)
        ]
        outcomes = sorted(
            (Path(row["uri"]).name, row["kind"], row["reason"] or "ok")
            for part in parts
            for row in pq.read_table(f"{part.uri}/{MEDIA_FILE}").to_pylist()
        )
        (bucket,) = shuffle(
            WantedMedia(parts, tmp_path / "wanted"), store, buckets, scratch=tmp_path / "rows"
        )
        found.add((*outcomes, (Path(bucket.uri) / VECTORS_FILE).read_bytes()))
    ((*same, _),) = found
    assert same == [
        ("a.mp4", "image", "not-an-image"),
        ("a.mp4", "video", "ok"),
        ("a.webp", "image", "ok"),
        ("a.webp", "video", "ok"),
    ]
