"""LLaVA-OneVision: media tokens, pixels, freezing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from mmrlhf_jobs.data.media import LoadedMedia
from mmrlhf_jobs.errors import ModelError
from mmrlhf_jobs.forward.responses import response_log_probs
from mmrlhf_jobs.models import LoadedModel, load_model
from tests.jobs.models.tiny import make_processor, picture, save_tiny


@dataclass(frozen=True)
class Parts:
    vision_tower: bool
    projector: bool
    language_model: bool


@pytest.fixture(scope="module")
def loaded(tiny: Path) -> LoadedModel:
    return load_model(tiny, dtype="float32", attention="sdpa")


@pytest.mark.parametrize(
    ("width", "height"), [(28, 28), (50, 30), (30, 50), (200, 20), (20, 200), (57, 55), (1, 1)]
)
def test_one_image_has_as_many_tokens_as_the_model_makes(
    loaded: LoadedModel, width: int, height: int
) -> None:
    media = [LoadedMedia("image", (picture(width, height, 0),))]
    group = loaded.adapter.encode("what?", media, ["a"])
    features = loaded.model.get_image_features(**group.media_inputs).pooler_output
    tokens = int((group.prompt_ids == loaded.model.config.image_token_id).sum())
    assert tokens == sum(map(len, features))


def test_prompt_is_that_of_the_processor_itself(loaded: LoadedModel) -> None:
    images = [picture(50, 30, 1), picture(20, 90, 2)]
    media = [LoadedMedia("image", (image,)) for image in images]
    group = loaded.adapter.encode("what?", media, ["a"])
    text = loaded.adapter.chat.prompt_text("what?", ["image", "image"])
    theirs = loaded.processor(images=[images], text=[text], return_tensors="pt")
    assert group.prompt_ids.tolist() == theirs["input_ids"][0].tolist()
    for name, value in group.media_inputs.items():
        torch.testing.assert_close(value, torch.as_tensor(theirs[name]), rtol=0, atol=0)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_frames_have_as_many_tokens_as_the_model_makes(loaded: LoadedModel, count: int) -> None:
    film = LoadedMedia("frames", tuple(picture(40, 30, index) for index in range(count)))
    group = loaded.adapter.encode("what?", [film], ["a"])
    pixels = group.media_inputs["pixel_values_videos.0"]
    assert pixels.shape == (1, count, 3, 28, 28)
    features = loaded.model.get_video_features(pixels).pooler_output
    tokens = int((group.prompt_ids == loaded.model.config.video_token_id).sum())
    assert tokens == features.shape[1]


def test_frames_are_resized_and_normalised_as_images_are(loaded: LoadedModel) -> None:
    # A square picture of the tile's own size: the base tile of an image equals a frame.
    square = picture(28, 28, 5)
    frame = loaded.adapter.encode("x", [LoadedMedia("frames", (square,))], ["a"])
    image = loaded.adapter.encode("x", [LoadedMedia("image", (square,))], ["a"])
    torch.testing.assert_close(
        frame.media_inputs["pixel_values_videos.0"][0, 0],
        image.media_inputs["pixel_values"][0, 0].float(),
    )


def test_prompt_does_not_depend_on_the_responses(loaded: LoadedModel) -> None:
    media = [LoadedMedia("image", (picture(50, 30, 1),))]
    one = loaded.adapter.encode("what?", media, ["a dog"])
    other = loaded.adapter.encode("what?", media, [" a dog", "\n", "", "blue"])
    assert one.prompt_ids.tolist() == other.prompt_ids.tolist()


@pytest.mark.parametrize(
    ("parts", "trained"),
    [
        (Parts(False, True, True), {"projector", "language_model"}),
        (Parts(False, True, False), {"projector"}),
        (Parts(False, False, True), {"language_model"}),
        (Parts(True, False, False), {"vision_tower"}),
    ],
)
def test_freeze(tiny: Path, parts: Parts, trained: set[str]) -> None:
    loaded = load_model(tiny, dtype="float32", attention="sdpa")
    loaded.adapter.freeze(loaded.model, parts)
    media = [LoadedMedia("image", (picture(50, 30, 1),))]
    group = loaded.adapter.encode("what?", media, ["a dog", "blue"])
    response_log_probs(
        loaded.model, loaded.adapter, [group], shared_prefix=True
    ).sums.sum().backward()
    moved = set()
    for name, parameter in loaded.model.named_parameters():
        if parameter.grad is not None and parameter.grad.abs().max() > 0:
            places = ("vision_tower", "language_model", "lm_head", "projector", "image_newline")
            (part,) = [place for place in places if place in name]
            moved.add({"lm_head": "language_model", "image_newline": "projector"}.get(part, part))
    assert moved == trained


def test_frozen_tower_keeps_no_graph(tiny: Path) -> None:
    loaded = load_model(tiny, dtype="float32", attention="sdpa")
    loaded.adapter.freeze(loaded.model, Parts(False, True, True))
    seen: list[bool] = []
    tower, projector = loaded.model.model.vision_tower, loaded.model.model.multi_modal_projector
    tower.register_forward_hook(lambda *args: seen.append(args[2].last_hidden_state.requires_grad))
    projector.register_forward_hook(lambda *args: seen.append(args[2].requires_grad))
    media = [LoadedMedia("image", (picture(50, 30, 1),))]
    group = loaded.adapter.encode("what?", media, ["a dog"])
    response_log_probs(loaded.model, loaded.adapter, [group], shared_prefix=True)
    assert seen == [False, True]


@pytest.mark.parametrize("shared_prefix", [True, False])
def test_media_are_encoded_once_per_group(loaded: LoadedModel, shared_prefix: bool) -> None:
    calls: list[int] = []
    hook = loaded.model.model.vision_tower.register_forward_pre_hook(
        lambda module, args: calls.append(len(args[0]))
    )
    media = [LoadedMedia("image", (picture(50, 30, 1),))]
    group = loaded.adapter.encode("what?", media, ["a", "b", "c", "d"])
    with torch.no_grad():
        response_log_probs(loaded.model, loaded.adapter, [group], shared_prefix=shared_prefix)
    hook.remove()
    assert calls == [len(group.media_inputs["pixel_values"][0])]


def test_image_settings_follow_what_changes_pixels(loaded: LoadedModel, tiny: Path) -> None:
    adapter_class = type(loaded.adapter)
    processor = make_processor()
    same = adapter_class(loaded.model.config, processor)  # type: ignore[call-arg]
    assert same.image_settings() == loaded.adapter.image_settings()
    processor.image_processor.image_mean = [0.5, 0.5, 0.5]
    assert same.image_settings() != loaded.adapter.image_settings()


def test_processor_that_does_not_fit_the_model_is_named(tiny: Path) -> None:
    loaded = load_model(tiny, dtype="float32", attention="sdpa")
    loaded.processor.num_image_tokens = 4
    media = [LoadedMedia("frames", (picture(28, 28, 1),))]
    group = loaded.adapter.encode("what?", media, ["a"])
    with pytest.raises(ModelError, match="do not fit"):
        response_log_probs(loaded.model, loaded.adapter, [group], shared_prefix=True)


def test_sliding_windows_cannot_share_a_prefix(tmp_path: Path) -> None:
    folder = save_tiny(
        tmp_path / "sliding", use_sliding_window=True, sliding_window=8, max_window_layers=1
    )
    loaded = load_model(folder, dtype="float32", attention="sdpa")
    assert not loaded.adapter.supports_shared_prefix
    group = loaded.adapter.encode("what?", [], ["a"])
    with pytest.raises(ModelError, match="sharedPrefix"):
        response_log_probs(loaded.model, loaded.adapter, [group], shared_prefix=True)
