"""A frozen tower runs once for each medium, in every family, and no bit depends on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mmrlhf_jobs.data.media import LoadedMedia
from mmrlhf_jobs.features.store import FeatureStore
from mmrlhf_jobs.forward.responses import response_log_probs
from mmrlhf_jobs.models import EncodedGroup, LoadedModel, load_model
from mmrlhf_jobs.models.frozen import keep_features
from tests.jobs.models.stock import media_of, questions, sees
from tests.jobs.models.tiny import picture
from tests.jobs.models.zoo import FAMILIES, save

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

MERGED_INSIDE = "qwen3_vl"


@dataclass(frozen=True)
class Parts:
    vision_tower: bool = False
    projector: bool = True
    language_model: bool = True


def new_store() -> FeatureStore:
    return FeatureStore(memory=2**30, folder=None, tell=pytest.fail)


def load(folder: Path) -> LoadedModel:
    loaded = load_model(folder, dtype="float32", attention="sdpa")
    loaded.adapter.freeze(loaded.model, Parts())
    return loaded


def train(loaded: LoadedModel, groups: Sequence[EncodedGroup]) -> list[Tensor]:
    """Log-probabilities of all responses, and all gradients."""
    shared = loaded.adapter.supports_shared_prefix
    loaded.model.zero_grad(set_to_none=True)
    found = response_log_probs(loaded.model, loaded.adapter, groups, shared_prefix=shared).sums
    (found * torch.linspace(1, -2, len(found))).sum().backward()
    gradients = [one.grad.clone() for one in loaded.model.parameters() if one.grad is not None]
    return [found.detach(), *gradients]


def evaluate(loaded: LoadedModel, groups: Sequence[EncodedGroup]) -> Tensor:
    shared = loaded.adapter.supports_shared_prefix
    with torch.no_grad():
        return response_log_probs(loaded.model, loaded.adapter, groups, shared_prefix=shared).sums


def same(some: Sequence[Tensor], others: Sequence[Tensor]) -> bool:
    return len(some) == len(others) and all(map(torch.equal, some, others))


@contextmanager
def counted(loaded: LoadedModel) -> Iterator[list[nn.Module]]:
    """Runs of the first layer of the tower, which makes patches of pixels."""
    first = next(
        module
        for name, module in loaded.model.get_encoder(modality="image").named_modules()
        # A linear layer in towers whose processor makes the patches.
        if (isinstance(module, nn.Conv2d | nn.Conv3d) or name.endswith("patch_embedding"))
        and not any(weight.requires_grad for weight in module.parameters())
    )
    runs: list[nn.Module] = []
    hook = first.register_forward_hook(lambda module, *_: runs.append(module))
    yield runs
    hook.remove()


@pytest.mark.parametrize("name", list(FAMILIES))
def test_a_medium_goes_through_the_tower_once_and_all_numbers_stay(
    name: str, tmp_path: Path
) -> None:
    loaded = load(save(name, tmp_path / name))
    groups = [
        loaded.adapter.encode(question, media_of(images), responses)
        for question, images, responses in questions(loaded)
    ]
    if not sees(loaded):
        assert keep_features(loaded, new_store()) == "the model reads text alone"
        return
    with_images = sum(bool(group.media_inputs) for group in groups)
    expected = [train(loaded, [group]) for group in groups]
    joined = train(loaded, groups)
    store = new_store()
    assert not keep_features(loaded, store)
    with counted(loaded) as runs:
        # Reference pass, two epochs of which one in another order, evaluation of all at once.
        before = [evaluate(loaded, [group]) for group in groups]
        once = [train(loaded, [group]) for group in groups]
        again = [train(loaded, [group]) for group in reversed(groups)]
        together = train(loaded, groups)
        evaluate(loaded, groups)
        assert len(runs) == with_images
    assert all(map(same, once, expected))
    assert all(map(same, again[::-1], expected))
    assert all(torch.equal(one, other[0]) for one, other in zip(before, expected, strict=True))
    for value, other in zip(together, joined, strict=True):
        assert float((value - other).abs().max()) <= 1e-4 * max(1.0, float(other.abs().max()))
    assert (store.figures.misses, store.figures.hits) == (with_images, 4 * with_images)
    # Nothing kept, everything made each time: the same bits.
    assert not keep_features(loaded, FeatureStore(memory=0, folder=None, tell=pytest.fail))
    with counted(loaded) as runs:
        assert same(train(loaded, groups), together)
        assert same(train(loaded, groups), together)
        assert len(runs) == 2 * with_images


def test_videos_and_several_images_of_a_query_are_kept_apart_by_kind(tiny: Path) -> None:
    loaded = load(tiny)
    film = LoadedMedia("frames", (picture(40, 30, 2), picture(40, 30, 3)))
    one, two = media_of([picture(50, 30, 1), picture(30, 50, 4)])
    encode = loaded.adapter.encode
    groups = [
        encode("both?", [one, film], ["a dog", "no"]),
        encode("two?", [one, two], ["blue", "a red square"]),
        encode("the other way?", [two, one], ["blue", "a"]),
        encode("a film?", [film], ["no", "yes"]),
        encode("none?", [], ["a dog", "it"]),
    ]
    expected = [train(loaded, [group]) for group in groups]
    store = new_store()
    assert not keep_features(loaded, store)
    for _ in range(2):
        assert all(map(same, [train(loaded, [group]) for group in groups], expected))
    # The film of the first is that of the fourth; images in another order are another medium.
    assert store.figures.misses == 4
    assert store.figures.hits == 6


@pytest.fixture(scope="module", params=[MERGED_INSIDE, "llava"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A family that trains a part inside its tower, and one that does not."""
    return save(request.param, tmp_path_factory.mktemp("frozen") / "model")


def query(loaded: LoadedModel) -> EncodedGroup:
    return loaded.adapter.encode("what?", media_of([picture(30, 30, 3)]), ["blue", "no"])


def change(loaded: LoadedModel, what: str) -> None:
    tower = loaded.model.get_encoder(modality="image")
    with torch.no_grad():
        match what:
            case "tower":
                next(one for one in tower.parameters() if not one.requires_grad).view(-1)[0].add_(1)
            case "decoder":
                loaded.model.get_output_embeddings().weight.mul_(2)
            case "format":
                loaded.model.double()
            case "attention":
                loaded.model.set_attn_implementation({"vision_config": "eager"})
            case "processor":
                loaded.processor.image_processor.image_mean = [0.1, 0.1, 0.1]


@pytest.mark.parametrize(
    "what", ["nothing", "decoder", "tower", "format", "attention", "processor"]
)
def test_what_was_made_is_found_by_what_would_make_the_same(folder: Path, what: str) -> None:
    """One change at a time, on the same pixels: no other part of the key can answer for it."""
    store = new_store()
    first = load(folder)
    asked = query(first)
    assert not keep_features(first, store)
    evaluate(first, [asked])
    other = load(folder)
    change(other, what)
    assert not keep_features(other, store)
    evaluate(other, [asked])
    assert store.figures.misses == (1 if what in {"nothing", "decoder"} else 2)


def test_the_projector_goes_on_learning(folder: Path) -> None:
    """Features change with it, though the tower does not run."""
    loaded = load(folder)
    plain = load(folder)
    assert not keep_features(loaded, new_store())
    series: list[list[Tensor]] = [[], []]
    for model, losses in zip((loaded, plain), series, strict=True):
        weights = [one for one in model.model.parameters() if one.requires_grad]
        optimizer = torch.optim.SGD(weights, lr=1e-3)
        for _ in range(3):
            losses.append(train(model, [query(model)])[0])
            optimizer.step()
    assert same(*series)
    assert not torch.equal(series[0][0], series[0][2])


def test_a_tower_that_is_trained_is_never_kept(folder: Path) -> None:
    loaded = load_model(folder, dtype="float32", attention="sdpa")
    store = new_store()
    for projector in (True, False):
        loaded.adapter.freeze(loaded.model, Parts(vision_tower=True, projector=projector))
        assert keep_features(loaded, store)
    # Frozen when it was asked for, and trained since.
    loaded.adapter.freeze(loaded.model, Parts())
    assert not keep_features(loaded, store)
    loaded.model.requires_grad_(True)
    train(loaded, [query(loaded)])
    tower = loaded.model.get_encoder(modality="image")
    assert all(one.grad is not None for name, one in tower.named_parameters() if "patch" in name)
    assert store.figures.misses == 0


def test_with_checkpoints_of_the_gradient_no_bit_changes(folder: Path) -> None:
    loaded = load(folder)
    loaded.model.train()
    loaded.model.activation_checkpointing_enable()
    expected = train(loaded, [query(loaded)])
    assert not keep_features(loaded, new_store())
    assert same(train(loaded, [query(loaded)]), expected)
    assert same(train(loaded, [query(loaded)]), expected)
