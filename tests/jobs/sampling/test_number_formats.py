"""Encoders in half precision, and vectors kept in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from mmrlhf_api.models import DType
from mmrlhf_jobs.sampling.clustering.grid import is_on_grid
from mmrlhf_jobs.sampling.clustering.points import open_bucket
from mmrlhf_jobs.sampling.corpora.media import MediaReader, MediaRef
from mmrlhf_jobs.sampling.embeddings.embedding import Embedder
from mmrlhf_jobs.sampling.embeddings.encoder import Encoder
from mmrlhf_jobs.sampling.embeddings.shuffling import (
    KEYS_FILE,
    VECTORS_FILE,
    WantedMedia,
    shuffle,
)
from mmrlhf_jobs.sampling.embeddings.store import VectorStore
from mmrlhf_jobs.sampling.parts import Parts
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from tests.jobs.sampling.encoders import save_clip
from tests.jobs.sampling.here import DecodersHere
from tests.unit.sampling.pictures import encoded, noise


@pytest.fixture(scope="module", autouse=True)
def threads_as_they_were() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_clip(tmp_path_factory.mktemp("clip"))


@pytest.mark.parametrize(("dtype", "units"), [("bfloat16", 2.0**-8), ("float16", 2.0**-11)])
def test_an_encoder_in_half_precision_is_near_the_one_in_float32(
    clip: Path, dtype: DType, units: float
) -> None:
    exact, half = Encoder(clip), Encoder(clip, dtype=dtype)
    assert exact.key != half.key
    pixels = [exact.preparation.pixels(noise(30 + seed, 40, seed)) for seed in range(11)]
    expected, found = exact.encode(pixels)[0], half.encode(pixels)[0]
    assert is_on_grid(found).all()
    # A few roundings of each number in a model of two layers.
    assert 0 < np.abs(found - expected).max() < 8 * units
    for size in (1, 4):
        parts = [half.encode(pixels[at : at + size])[0] for at in range(0, 11, size)]
        assert np.concatenate(parts).tobytes() == found.tobytes()


def test_vectors_in_half_precision_take_half_the_space_and_differ_by_one_rounding(
    clip: Path, tmp_path: Path
) -> None:
    refs = [MediaRef(str(tmp_path / f"{seed}.png")) for seed in range(9)]
    for seed, ref in enumerate(refs):
        Path(ref.uri).write_bytes(encoded(noise(40, 40, seed)))
    artifacts = ArtifactStore(str(tmp_path / "artifacts"))
    encoder = Encoder(clip)
    stores = [
        VectorStore(artifacts, encoder.key, scratch=tmp_path / "scratch", dtype=dtype)
        for dtype in ("float32", "float16")
    ]
    assert stores[0].key == encoder.key != stores[1].key
    found = []
    for store in stores:
        media, buckets = (
            Parts(artifacts, f"{store.key}/{name}", scratch=tmp_path / "scratch")
            for name in ("media", "buckets")
        )
        embedder = Embedder(encoder, MediaReader(), DecodersHere(encoder.preparation, 1), store)
        wanted = WantedMedia([embedder.embed("all", "key", refs, media)], tmp_path / "wanted")
        (part,) = shuffle(wanted, store, buckets, scratch=tmp_path / "rows")
        found.append(
            open_bucket(Path(part.uri) / VECTORS_FILE, Path(part.uri) / KEYS_FILE),
        )
    exact, half = found
    assert half.path.stat().st_size - half.offset == (exact.path.stat().st_size - exact.offset) / 2
    assert half.keys().tobytes() == exact.keys().tobytes()
    rows, rounded = exact.read(0, 9), half.read(0, 9)
    assert is_on_grid(rounded).all()
    assert (rounded != rows).any()
    assert (np.abs(rounded - rows) <= np.maximum(np.abs(rows) * 2.0**-11, 2.0**-25)).all()
    # Another run finds them again.
    again = VectorStore(artifacts, encoder.key, scratch=tmp_path / "scratch", dtype="float16")
    again.refresh()
    known = [again.find(key, "image") for key in map(bytes, half.keys())]
    assert len([one for one in known if one is not None]) == 9
