"""Families of the table and others, each tiny: against transformers' own processor and model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from torch import Tensor

from mmrlhf_jobs.attention import backends
from mmrlhf_jobs.data.media import LoadedMedia
from mmrlhf_jobs.data.parts import Media
from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.forward.choices import choose_likeliest
from mmrlhf_jobs.forward.decoding import write_answers
from mmrlhf_jobs.forward.responses import response_log_probs
from mmrlhf_jobs.models import EncodedGroup, LoadedModel, load_model
from mmrlhf_jobs.models.families.text import TextAdapter
from mmrlhf_jobs.models.folders import save_model
from mmrlhf_jobs.models.weights import held
from tests.jobs.models.stock import (
    NEAR,
    media_of,
    questions,
    sees,
    stock_forward,
    stock_inputs,
    stock_tokens,
)
from tests.jobs.models.tiny import picture
from tests.jobs.models.zoo import FAMILIES, save

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

ONE_ROW_A_RESPONSE = {"gemma3"}


@dataclass(frozen=True)
class Parts:
    vision_tower: bool
    projector: bool
    language_model: bool


@pytest.fixture(scope="module", params=list(FAMILIES))
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(request.param, tmp_path_factory.mktemp("zoo") / request.param)


@pytest.fixture(scope="module")
def loaded(folder: Path) -> LoadedModel:
    loaded = load_model(folder, dtype="float64", attention="sdpa")
    count_in_double(loaded.model)
    return loaded


def count_in_double(model: Any) -> None:
    """Run experts one after the other: the kernel for all at once takes no double precision."""
    model.set_experts_implementation("eager")


@pytest.fixture(scope="module")
def groups(loaded: LoadedModel) -> list[EncodedGroup]:
    return [
        loaded.adapter.encode(question, media_of(images), responses)
        for question, images, responses in questions(loaded)
    ]


def gradients(model: Any) -> dict[str, Tensor]:
    found = {
        name: parameter.grad.clone()
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }
    model.zero_grad(set_to_none=True)
    return found


def test_prompts_are_those_of_the_processor(
    loaded: LoadedModel, groups: list[EncodedGroup]
) -> None:
    for group, (question, images, _) in zip(groups, questions(loaded), strict=True):
        stock = stock_inputs(loaded, question, images)
        assert group.prompt_ids.tolist() == stock["input_ids"][0].tolist()
        assert ("pixel_values" in group.media_inputs) == bool(images)
        for name, value in group.media_inputs.items():
            torch.testing.assert_close(value, torch.as_tensor(stock[name]), rtol=0, atol=0)
        media = [Media(uri=f"{index}.png", sha256="0" * 64) for index in range(len(images))]
        assert loaded.adapter.longest_prompt(question, media) >= len(group.prompt_ids)


def test_frames_are_images_one_after_the_other(loaded: LoadedModel) -> None:
    film = LoadedMedia("frames", (picture(40, 28, 1), picture(24, 50, 2)))
    encode = loaded.adapter.encode
    if not sees(loaded):
        with pytest.raises(DataError, match="reads text alone"):
            encode("what is this?", [film], ["a"])
        return
    frames = encode("what <video> are these?", [film], ["a"])
    images = encode("what  are these?", media_of(film.frames), ["a"])
    assert frames.prompt_ids.tolist() == images.prompt_ids.tolist()
    for name, value in frames.media_inputs.items():
        assert torch.equal(value, images.media_inputs[name])


def test_shared_prefix_gives_the_plain_log_probs_and_gradients(
    loaded: LoadedModel, groups: list[EncodedGroup], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, adapter = loaded.model, loaded.adapter
    count = sum(len(group.responses) for group in groups)
    weights = torch.linspace(1, -2, count, dtype=model.dtype)
    near = NEAR[model.dtype]
    plain = [
        stock_forward(model, stock_inputs(loaded, question, images), response)
        for (question, images, _), group in zip(questions(loaded), groups, strict=True)
        for response in group.responses
    ]
    (torch.stack(plain) * weights).sum().backward()
    expected = gradients(model)
    shared = adapter.supports_shared_prefix
    assert shared == (model.config.model_type not in ONE_ROW_A_RESPONSE)
    for shared_prefix in [True, False] if shared else [False]:
        found = response_log_probs(model, adapter, groups, shared_prefix=shared_prefix).sums
        torch.testing.assert_close(found, torch.stack(plain), **near)
        (found * weights).sum().backward()
        own = gradients(model)
        assert own.keys() == expected.keys()
        for name, value in expected.items():
            # Norms are computed in float32 whatever the model is in; so are delta rules, whose
            # decay multiplies what rounding does.
            limit = (1e-4 if adapter.state_layer else 3e-5) * max(1.0, float(value.abs().max()))
            assert float((own[name] - value).abs().max()) < limit, name
    if shared:
        # Negative control: responses that see those before them.
        monkeypatch.setitem(backends.BACKENDS, "mmrlhf_sdpa", backends.CAUSAL)
        with torch.no_grad():
            wrong = response_log_probs(model, adapter, groups, shared_prefix=True).sums
        assert float((wrong - torch.stack(plain).detach()).abs().max()) > 0.01
    if adapter.state_layer:
        # Negative control: layers whose state goes through the responses one after the other.
        monkeypatch.undo()
        monkeypatch.setattr("mmrlhf_jobs.forward.responses.continue_layers", lambda *_: False)
        with torch.no_grad():
            wrong = response_log_probs(model, adapter, groups, shared_prefix=True).sums
        assert float((wrong - torch.stack(plain).detach()).abs().max()) > 0.01


@pytest.mark.parametrize(("window", "shared"), [(8, False), (None, True)])
def test_a_window_of_all_layers_takes_one_row_a_response(window: int | None, shared: bool) -> None:
    """Mistral's configuration names no types of layers; short queries would not show it."""
    _, processor = FAMILIES["llama"]()
    config = hf.MistralConfig(sliding_window=window)
    config._attn_implementation = "mmrlhf_sdpa"
    assert TextAdapter(config, processor).supports_shared_prefix == shared


@pytest.mark.parametrize("folder", ["qwen3_vl_moe", "qwen3_5_moe_text"], indirect=True)
def test_routers_learn_from_the_objective_alone(
    loaded: LoadedModel, groups: list[EncodedGroup]
) -> None:
    """Whatever the configuration says: transformers' auxiliary loss is no part of it."""
    model = loaded.model
    settings = model.config.get_text_config()
    found = []
    for wanted in (False, True):
        settings.output_router_logits = wanted
        sums = response_log_probs(model, loaded.adapter, groups, shared_prefix=True).sums
        sums.sum().backward()
        found.append([sums.detach(), *gradients(model).values()])
    ids = groups[-1].prompt_ids[None]
    stock = model(input_ids=ids, labels=ids, output_router_logits=True)
    settings.output_router_logits = False
    assert float(stock.aux_loss.detach()) > 0, "there is such a loss"
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))
    assert any("gate.weight" in name for name, _ in model.named_parameters()), "and a router"


def test_queries_do_not_depend_on_each_other(
    loaded: LoadedModel, groups: list[EncodedGroup]
) -> None:
    shared = loaded.adapter.supports_shared_prefix
    with torch.no_grad():
        together = response_log_probs(loaded.model, loaded.adapter, groups, shared_prefix=shared)
        alone = [
            response_log_probs(loaded.model, loaded.adapter, [group], shared_prefix=shared).sums
            for group in groups
        ]
    torch.testing.assert_close(together.sums, torch.cat(alone), **NEAR[loaded.model.dtype])


@torch.no_grad()
def test_the_exported_model_writes_the_same_tokens_in_transformers(
    loaded: LoadedModel, groups: list[EncodedGroup], folder: Path, tmp_path: Path
) -> None:
    ends = [loaded.processor.tokenizer.eos_token_id]
    answers = write_answers(
        loaded.model, loaded.adapter, groups, choose=choose_likeliest, ends=ends, max_new_tokens=8
    )
    save_model(
        loaded.model, held(loaded.model.state_dict()), source=folder, target=tmp_path / "export"
    )
    loaded.model.save_pretrained(tmp_path / "stock")
    for file in (tmp_path / "stock").iterdir():
        assert (tmp_path / "export" / file.name).read_bytes() == file.read_bytes(), file.name
    auto = hf.AutoModelForImageTextToText if sees(loaded) else hf.AutoModelForCausalLM
    model = auto.from_pretrained(tmp_path / "export", dtype=loaded.model.dtype)
    count_in_double(model)
    for answer, (question, images, _) in zip(answers, questions(loaded), strict=True):
        inputs = stock_inputs(loaded, question, images)
        assert answer.tokens.tolist() == stock_tokens(model, inputs, count=8)


def part_of(name: str) -> str:
    """Which part a weight belongs to, by its name."""
    if any(mark in name for mark in ("merger", "projector", "connector", "newline", "downsample")):
        return "projector"
    in_tower = any(mark in name for mark in ("visual.", "vision_tower.", "vision_model."))
    return "vision_tower" if in_tower else "language_model"


def test_parts_are_frozen_apart(loaded: LoadedModel) -> None:
    model = loaded.model
    for part in Parts.__annotations__:
        try:
            parts = Parts(**{name: name == part for name in Parts.__annotations__})
            loaded.adapter.freeze(model, parts)
            trained = {name for name, one in model.named_parameters() if one.requires_grad}
        finally:
            model.requires_grad_(True)
        assert trained == {name for name, _ in model.named_parameters() if part_of(name) == part}


@pytest.mark.parametrize("folder", ["lfm2", "qwen3_5"], indirect=True)
def test_states_are_not_continued_with_an_older_transformers(
    loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert loaded.adapter.supports_shared_prefix
    monkeypatch.setattr(hf, "__version__", "5.21.2")
    assert not loaded.adapter.state_layer
    assert not loaded.adapter.supports_shared_prefix
