"""Layers that keep a state in shared rows, against the layer on each prompt with its response."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    Lfm2Config,
    Lfm2MoeConfig,
    Qwen3_5MoeTextConfig,
    Qwen3_5TextConfig,
    Qwen3NextConfig,
)
from transformers.models.lfm2.modeling_lfm2 import Lfm2ShortConv
from transformers.models.lfm2_moe.modeling_lfm2_moe import Lfm2MoeShortConv
from transformers.models.qwen3_5.modeling_qwen3_5 import Qwen3_5GatedDeltaNet
from transformers.models.qwen3_5_moe.modeling_qwen3_5_moe import Qwen3_5MoeGatedDeltaNet
from transformers.models.qwen3_next.modeling_qwen3_next import Qwen3NextGatedDeltaNet

from mmrlhf_jobs.attention.layout import RowLayout
from mmrlhf_jobs.forward.continuation import StateParts, continue_layers
from mmrlhf_jobs.forward.decoding import Decoding
from mmrlhf_jobs.forward.responses import response_log_probs
from mmrlhf_jobs.models import EncodedGroup, LoadedModel, load_model
from tests.jobs.models.zoo import RECURRENT, save

CPU = torch.device("cpu")
# Chunks of a delta rule have 64 tokens; a kernel of 4 is longer than the shortest of these.
PROMPTS, RESPONSES = (70, 1, 9), ((3, 66, 1), (5,), (1, 2))
WIDTH = 32


CONVOLUTION: dict[str, Any] = {
    "num_hidden_layers": 1,
    "layer_types": ["conv"],
    "conv_bias": True,
    "conv_L_cache": 4,
}
"""With biases: what comes before the first token is nothing all the same."""
DELTA_RULE = {**RECURRENT, "num_hidden_layers": 1, "layer_types": ["linear_attention"]}
EXACT: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-9}
ROUNDED: dict[str, Any] = {"rtol": 1e-3, "atol": 2e-4}
"""Delta rules are computed in float32, whatever the model is in."""
LAYERS: dict[str, tuple[Any, Any]] = {
    "LFM2": (Lfm2ShortConv, Lfm2Config),
    "LFM2-MoE": (Lfm2MoeShortConv, Lfm2MoeConfig),
    "Qwen3.5": (Qwen3_5GatedDeltaNet, Qwen3_5TextConfig),
    "Qwen3.5-MoE": (Qwen3_5MoeGatedDeltaNet, Qwen3_5MoeTextConfig),
    "Qwen3-Next": (Qwen3NextGatedDeltaNet, Qwen3NextConfig),
}


@pytest.fixture(params=LAYERS)
def layer(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    make, config = LAYERS[request.param]
    settings = CONVOLUTION if "ShortConv" in make.__name__ else DELTA_RULE
    made: nn.Module = make(config(hidden_size=WIDTH, **settings), 0)
    with torch.no_grad():
        for weight in made.parameters():
            weight.copy_(0.3 * torch.randn_like(weight))
    return made.double()


def rows(packed: bool) -> RowLayout:
    used = [prompt + sum(own) for prompt, own in zip(PROMPTS, RESPONSES, strict=True)]
    return RowLayout(PROMPTS, RESPONSES, sum(used) if packed else max(used), packed)


def gradients(layer: nn.Module) -> list[Tensor]:
    found = [weight.grad for weight in layer.parameters()]
    layer.zero_grad()
    assert all(one is not None for one in found)
    return [one for one in found if one is not None]


@pytest.mark.parametrize("packed", [True, False])
def test_each_response_goes_on_from_its_prompt(layer: nn.Module, packed: bool) -> None:
    layout = rows(packed)
    hidden = torch.randn(*layout.shape, WIDTH, dtype=torch.float64, requires_grad=True)
    weights = torch.randn_like(hidden).flatten(0, 1)
    tokens = hidden.flatten(0, 1)
    wanted, places, loss = [], [], torch.zeros((), dtype=torch.float64)
    for start, prompt, responses in zip(
        layout.starts, layout.prompts, layout.responses, strict=True
    ):
        before = torch.arange(start, start + prompt)
        own = [
            before,
            *torch.arange(start + prompt, start + prompt + sum(responses)).split(responses),
        ]
        alone = [layer(tokens[torch.cat([before, one])[None]])[0, prompt:] for one in own[1:]]
        for place, found in zip(own, [layer(tokens[before][None])[0], *alone], strict=True):
            wanted.append(found)
            places.append(place)
            loss = loss + (found * weights[place]).sum()
    loss.backward()
    expected = [hidden.grad, *gradients(layer)]
    hidden.grad = None

    assert continue_layers(nn.ModuleList([layer]), type(layer).__name__)
    with read_by(layer) as calls:
        found = layer(hidden, state_parts=StateParts.of(layout, CPU)).flatten(0, 1)
    order = torch.cat(places)
    near = EXACT if "ShortConv" in type(layer).__name__ else ROUNDED
    torch.testing.assert_close(found[order], torch.cat(wanted), **near)
    (found[order] * weights[order]).sum().backward()
    for gradient, value in zip([hidden.grad, *gradients(layer)], expected, strict=True):
        torch.testing.assert_close(gradient, value, **near)
    # All prompts once and all responses once, filled up to the longest, whatever their number.
    assert calls == [len(PROMPTS) * max(PROMPTS), 6 * 66]


@contextmanager
def read_by(layer: Any) -> Iterator[list[int]]:
    """Tokens that go into a layer, call by call."""
    calls: list[int] = []
    first = next(one for one in layer.children() if isinstance(one, nn.Linear))
    hook = first.register_forward_hook(
        lambda _, inputs, __: calls.append(inputs[0][..., 0].numel())
    )
    try:
        yield calls
    finally:
        hook.remove()


def test_without_parts_a_layer_does_what_it_did(layer: nn.Module) -> None:
    hidden = torch.randn(2, 7, WIDTH, dtype=torch.float64)
    before = layer(hidden)
    assert continue_layers(nn.ModuleList([layer]), type(layer).__name__)
    assert continue_layers(nn.ModuleList([layer]), type(layer).__name__), "twice is once"
    assert torch.equal(layer(hidden), before)
    twin = copy.deepcopy(layer)
    with torch.no_grad():
        next(twin.parameters()).zero_()
    assert torch.equal(layer(hidden), before)
    assert not torch.equal(twin(hidden), before), "a copy reads its own weights"
    assert not continue_layers(nn.ModuleList([layer]), "")


@pytest.fixture(scope="module", params=["qwen3_5_text", "lfm2", "lfm2_moe", "qwen3_next"])
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    folder = save(request.param, tmp_path_factory.mktemp("models") / request.param)
    return load_model(folder, dtype="float32", attention="sdpa")


@pytest.fixture
def groups() -> list[EncodedGroup]:
    generator = torch.Generator().manual_seed(0)

    def ids(length: int) -> Tensor:
        return torch.randint(10, 300, (length,), generator=generator)

    return [
        EncodedGroup(ids(prompt), tuple(map(ids, responses)), {})
        for prompt, responses in zip(PROMPTS, RESPONSES, strict=True)
    ]


@torch.no_grad()
def test_text_is_written_from_the_state_after_each_response(
    loaded: LoadedModel, groups: list[EncodedGroup]
) -> None:
    decoder, embed = loaded.model.get_decoder(), loaded.model.get_input_embeddings()
    decoding = Decoding(loaded.model, loaded.adapter, groups, samples=2)
    rows = [
        torch.cat([group.prompt_ids, response])
        for group in groups
        for response in group.responses
        for _ in range(2)
    ]
    decoding.read_prompts()
    found = decoding.read_responses()
    for _ in range(3):
        wanted = [decoder(inputs_embeds=embed(ids)[None])[0][0, -1] for ids in rows]
        torch.testing.assert_close(found, torch.stack(wanted), rtol=1e-3, atol=1e-3)
        kept = list(range(len(rows)))[1::2]
        decoding.keep(kept)
        found = decoding.read_tokens([11 + row for row in kept])
        rows = [torch.cat([rows[row], torch.tensor([11 + row])]) for row in kept]
    assert decoding.rows == [7]


def test_a_prompt_is_read_once_a_query_with_and_without_checkpointing(
    loaded: LoadedModel, groups: list[EncodedGroup]
) -> None:
    model = loaded.model.train()

    def run(*, shared_prefix: bool) -> tuple[list[Tensor], int]:
        found = response_log_probs(model, loaded.adapter, groups, shared_prefix=shared_prefix)
        (found.sums * torch.linspace(1, -2, len(found.sums))).sum().backward()
        return [found.sums.detach(), *gradients(model)], found.real_tokens

    separate, read_apart = run(shared_prefix=False)
    shared, read = run(shared_prefix=True)
    assert read == sum(PROMPTS) + sum(map(sum, RESPONSES))
    assert read_apart == read + sum(
        prompt * (len(own) - 1) for prompt, own in zip(PROMPTS, RESPONSES, strict=True)
    )
    for own, value in zip(shared, separate, strict=True):
        scale = max(1.0, float(value.abs().max()))
        torch.testing.assert_close(own, value, rtol=1e-3, atol=1e-3 * scale)
    model.activation_checkpointing_enable({"use_reentrant": False})
    mixer = next(one for one in model.modules() if type(one).__name__ == loaded.adapter.state_layer)
    with read_by(mixer) as calls:
        again, _ = run(shared_prefix=True)
    assert calls == [len(PROMPTS) * max(PROMPTS), 6 * 66] * 2, "once more in the backward pass"
    assert all(torch.equal(own, value) for own, value in zip(again, shared, strict=True))
