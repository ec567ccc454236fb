"""The tiny model and groups of every shape."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmrlhf_jobs.data.media import LoadedMedia
from mmrlhf_jobs.models import EncodedGroup, LoadedModel, load_model
from tests.jobs.models.tiny import picture, save_tiny


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny LLaVA-OneVision; do not write into it."""
    return save_tiny(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def loaded(tiny: Path) -> LoadedModel:
    """The tiny model in double precision, with gradients at zero."""
    loaded = load_model(tiny, dtype="float64", attention="sdpa")
    loaded.model.train()
    return loaded


def image(width: int, height: int, seed: int) -> LoadedMedia:
    return LoadedMedia("image", (picture(width, height, seed),))


def frames(count: int, seed: int) -> LoadedMedia:
    return LoadedMedia("frames", tuple(picture(40, 30, seed + index) for index in range(count)))


@pytest.fixture
def groups(loaded: LoadedModel) -> list[EncodedGroup]:
    """One image; none; two images; frames; frames and an image. Responses of uneven lengths."""
    encode = loaded.adapter.encode
    return [
        encode("what is this?", [image(50, 30, 1)], ["a dog", "a red square and a dog", "blue"]),
        encode("and this?", [], ["a", "circle dog", "no", "yes, it is a blue circle"]),
        encode("two?", [image(50, 30, 2), image(20, 90, 3)], ["a", "circle dog"]),
        encode("film?", [frames(3, 10)], ["x", "y dog is", "a dog"]),
        encode("both?", [frames(2, 20), image(30, 50, 9)], ["x", "y dog"]),
    ]
