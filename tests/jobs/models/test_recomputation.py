"""Recomputation by part: the same numbers bit for bit, and what is kept, counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from transformers.modeling_layers import GradientCheckpointingLayer

from mmrlhf_jobs.data.media import LoadedMedia
from mmrlhf_jobs.errors import SpecError
from mmrlhf_jobs.forward.responses import response_log_probs
from mmrlhf_jobs.models import EncodedGroup, LoadedModel, load_model
from mmrlhf_jobs.models.recomputation import Recomputed, recompute
from tests.jobs.models.tiny import picture, save_tiny

LAYERS = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("models") / "tiny", num_hidden_layers=LAYERS)


@pytest.fixture
def loaded(folder: Path) -> LoadedModel:
    loaded = load_model(folder, dtype="float64", attention="sdpa")
    loaded.model.train()
    return loaded


@pytest.fixture
def groups(loaded: LoadedModel) -> list[EncodedGroup]:
    encode = loaded.adapter.encode
    image = LoadedMedia("image", (picture(50, 30, 1),))
    return [
        encode("what is this?", [image], ["a dog", "a red square and a dog", "blue"]),
        encode("and this?", [], ["a", "yes, it is a blue circle"]),
    ]


class Kept:
    """Bytes that a forward pass keeps for its backward pass, weights left out."""

    def __init__(self, loaded: LoadedModel) -> None:
        self._weights = {one.untyped_storage().data_ptr() for one in loaded.model.parameters()}
        self._found: dict[int, Tensor] = {}
        layers = [
            one for one in loaded.model.modules() if isinstance(one, GradientCheckpointingLayer)
        ]
        self._hooks = [one.register_forward_pre_hook(self._note_input) for one in layers]

    def _note_input(self, layer: Any, args: tuple[Any, ...]) -> None:
        # Of a layer that is made again, torch keeps the inputs out of the sight of these hooks.
        if layer.gradient_checkpointing and layer.training:
            self._note(args[0])

    def _note(self, one: Tensor) -> Tensor:
        place = one.untyped_storage().data_ptr()
        if place not in self._weights:
            self._found[place] = one
        return one

    def count(self, loaded: LoadedModel, groups: list[EncodedGroup]) -> tuple[int, Tensor]:
        with saved_tensors_hooks(self._note, lambda one: one):
            sums = response_log_probs(loaded.model, loaded.adapter, groups, shared_prefix=True).sums
        for hook in self._hooks:
            hook.remove()
        return sum(one.untyped_storage().nbytes() for one in self._found.values()), sums


Outcome = tuple[int, list[Tensor]]


def outcome(loaded: LoadedModel, groups: list[EncodedGroup]) -> Outcome:
    """Bytes kept; sums and all gradients."""
    loaded.model.zero_grad()
    kept, sums = Kept(loaded).count(loaded, groups)
    (sums * torch.linspace(-1, 2, len(sums), dtype=sums.dtype)).sum().backward()
    grads = [one.grad for one in loaded.model.parameters() if one.grad is not None]
    return kept, [sums.detach(), *grads]


def test_less_is_kept_with_every_layer_and_no_bit_changes(
    loaded: LoadedModel, groups: list[EncodedGroup]
) -> None:
    bare, expected = outcome(loaded, groups)
    kept = [bare]
    settings: list[tuple[int | None, bool]] = [
        (None, True),
        (4, True),
        (2, True),
        (1, True),
    ]
    for every, tower in [(None, False), *settings]:
        recompute(loaded, every=every, tower=tower)
        count, found = outcome(loaded, groups)
        assert len(found) == len(expected)
        assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
        kept.append(count)
    assert kept[1] == bare, "nothing was asked for"
    assert kept[1:] == sorted(kept[1:], reverse=True)
    assert len(set(kept[1:])) == len(settings) + 1, "each keeps less than the one before"
    assert kept[-1] < bare / 2


@pytest.mark.parametrize(("every", "number"), [(None, 0), (1, 4), (2, 2), (3, 2), (9, 1)])
def test_layers_by_their_number(loaded: LoadedModel, every: int | None, number: int) -> None:
    found = recompute(loaded, every=every, tower=False)
    assert (found.decoder, found.decoder_layers) == (number, LAYERS)
    switches = [one.gradient_checkpointing for one in loaded.model.get_decoder().layers]
    assert switches == [every is not None and place % every == 0 for place in range(LAYERS)]
    assert (found.tower, found.tower_layers) == (0, 2)


def test_a_frozen_tower_counts_for_nothing(loaded: LoadedModel) -> None:
    loaded.model.get_encoder(modality="image").requires_grad_(False)
    found = recompute(loaded, every=None, tower=True)
    assert (found.tower, found.tower_layers) == (0, 0)


@pytest.mark.parametrize("every", [1, 2, 4])
def test_the_estimate_is_about_what_is_counted(
    loaded: LoadedModel, groups: list[EncodedGroup], every: int
) -> None:
    groups = groups[1:]  # text alone
    loaded.model.get_encoder(modality="image").requires_grad_(False)
    whole, _ = outcome(loaded, groups)
    recompute(loaded, every=1, tower=False)
    least, _ = outcome(loaded, groups)
    found = recompute(loaded, every=every, tower=False)
    kept, _ = outcome(loaded, groups)
    inputs = LAYERS * sum(group.tokens for group in groups) * 32 * 8
    beside = least - inputs
    assert found.kept_share == pytest.approx((kept - beside) / (whole - beside), abs=0.01)


def test_what_the_user_is_told() -> None:
    told = Recomputed(12, 24, 0, 0, kept_share=0.527).sentence()
    assert told == (
        "activations of 12 of 24 layers of the language model are made again in the backward pass: "
        "of what the language model's layers would keep, about 53% is kept, and its passes take "
        "about 17% longer"
    )
    assert " and 3 of 3 of the vision tower " in Recomputed(1, 2, 3, 3, 0.5).sentence()


def test_a_model_that_cannot_is_refused(
    loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(loaded.model), "supports_gradient_checkpointing", False)
    with pytest.raises(SpecError, match=r"spec.training.recompute, gradientCheckpointing: Llava"):
        recompute(loaded, every=1, tower=False)
