"""The encoder of tiny CLIP and SigLIP folders."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoImageProcessor, AutoModel

from mmrlhf_jobs.errors import ModelError
from mmrlhf_jobs.sampling.clustering.grid import is_on_grid
from mmrlhf_jobs.sampling.embeddings.encoder import Encoder
from tests.jobs.sampling.encoders import save_clip, save_siglip
from tests.unit.sampling.pictures import noise, photographs

SAVE: dict[str, Callable[[Path], Path]] = {"clip": save_clip, "siglip": save_siglip}


@pytest.fixture(scope="module", autouse=True)
def threads_as_they_were() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module", params=sorted(SAVE))
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return SAVE[request.param](tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    real = [Image.open(io.BytesIO(one)).convert("RGB") for one in photographs().values()]
    return [*real, *(noise(20 + 7 * seed, 50, seed) for seed in range(15))]


def test_vectors_are_those_of_the_library(folder: Path, pictures: list[Image.Image]) -> None:
    encoder = Encoder(folder)
    found, good = encoder.encode([encoder.preparation.pixels(one) for one in pictures])
    model = AutoModel.from_pretrained(folder).eval()
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    with torch.inference_mode():
        inputs = processor(images=pictures, return_tensors="pt")
        features = model.get_image_features(**inputs).pooler_output
    expected = torch.nn.functional.normalize(features.double(), dim=-1).numpy()
    assert np.abs(found - expected).max() < 1e-5
    assert good == [True] * len(pictures)
    assert is_on_grid(found).all()
    assert found.shape[1] == encoder.width
    assert (found @ found.T).min() < 0.9999, "all pictures look the same"


def test_a_vector_depends_on_its_picture_alone(folder: Path, pictures: list[Image.Image]) -> None:
    encoder = Encoder(folder)
    assert encoder._block > 1
    pixels = [encoder.preparation.pixels(one) for one in pictures]
    whole = encoder.encode(pixels)[0]
    for size in (1, 3, 8, 20):
        parts = [encoder.encode(pixels[at : at + size])[0] for at in range(0, len(pixels), size)]
        assert np.concatenate(parts).tobytes() == whole.tobytes()
    order = np.random.default_rng(0).permutation(len(pixels))
    shuffled = encoder.encode([pixels[place] for place in order])[0]
    assert shuffled[np.argsort(order)].tobytes() == whole.tobytes()
    for threads in (1, 2, 3):
        other = Encoder(folder, threads=threads)
        assert other.key == encoder.key
        assert other.encode(pixels)[0].tobytes() == whole.tobytes()


def test_places_that_matter_give_each_picture_a_pass_of_its_own(
    folder: Path, pictures: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Encoder(folder)
    forward = Encoder._forward

    def by_place(self: Encoder, block: np.ndarray) -> np.ndarray:
        found = forward(self, block)
        found += np.arange(len(found), dtype=np.float32)[:, None] * 1e-6
        return found

    monkeypatch.setattr(Encoder, "_forward", by_place)
    encoder = Encoder(folder)
    assert encoder.key != plain.key
    pixels = [encoder.preparation.pixels(one) for one in pictures[:5]]
    whole = encoder.encode(pixels)[0]
    assert encoder.encode(pixels[::-1])[0][::-1].tobytes() == whole.tobytes()


def test_keys_tell_encoders_apart(folder: Path, tmp_path: Path) -> None:
    other = save_clip(tmp_path / "other", seed=1)
    keys = {Encoder(folder).key, Encoder(other).key, Encoder(folder, dtype="bfloat16").key}
    assert len(keys) == 3
    assert Encoder(folder).key in keys


def test_a_vector_of_zero_or_of_no_number_is_no_vector(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = Encoder(folder)
    monkeypatch.setattr(
        encoder, "_forward", lambda block: np.array([[0.0] * 4, [3, 0, 4, 0], [np.nan] * 4], "f4")
    )
    encoder.width = 4
    vectors, good = encoder.encode([np.zeros(encoder._shape, np.uint8)] * 3)
    assert good == [False, True, False]
    assert np.abs(vectors[1] - [0.6, 0, 0.8, 0]).max() < 1e-7


def test_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="image processor cannot be loaded"):
        Encoder(tmp_path)
    folder = save_clip(tmp_path / "clip")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="no model that can be loaded"):
        Encoder(folder)
    (folder / "preprocessor_config.json").write_text(
        (folder / "preprocessor_config.json")
        .read_text()
        .replace('"do_center_crop": true', '"do_center_crop": false')
    )
    with pytest.raises(ModelError, match="only models that take one fixed shape"):
        Encoder(folder)


def changed(
    folder: Path, target: Path, change: Callable[[dict[str, torch.Tensor]], object]
) -> Path:
    shutil.copytree(folder, target)
    weights = load_file(target / "model.safetensors")
    change(weights)
    save_file(weights, target / "model.safetensors", metadata={"format": "pt"})
    return target


PROJECTIONS = {
    "clip": "visual_projection.weight",
    "siglip": "vision_model.head.probe",
}


@pytest.mark.parametrize("kind", sorted(SAVE))
@pytest.mark.parametrize("damage", ["absent", "reshaped"])
def test_weights_of_pictures_are_never_made_up(kind: str, damage: str, tmp_path: Path) -> None:
    name = PROJECTIONS[kind]

    def harm(weights: dict[str, torch.Tensor]) -> None:
        weight = weights.pop(name)
        if damage == "reshaped":
            weights[name] = weight[..., :-1].contiguous()

    folder = changed(SAVE[kind](tmp_path / "whole"), tmp_path / "harmed", harm)
    with pytest.raises(ModelError, match=f"1 weights .* missing or .*{name}"):
        Encoder(folder)


def test_an_encoder_needs_no_weights_of_texts(tmp_path: Path) -> None:
    def drop(weights: dict[str, torch.Tensor]) -> None:
        for name in [name for name in weights if name.startswith("text_")]:
            del weights[name]

    whole = save_clip(tmp_path / "whole")
    pixels = [np.full((3, 32, 32), 90, np.uint8)]
    found = [
        Encoder(one).encode(pixels)[0] for one in (whole, changed(whole, tmp_path / "x", drop))
    ]
    assert found[0].tobytes() == found[1].tobytes()
