"""Shared prefix against one forward pass per response, and both against transformers' own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AttentionInterface

from mmrlhf_jobs.attention import split as attention
from mmrlhf_jobs.attention.parts import PackedParts
from mmrlhf_jobs.attention.split import SHARED_PREFIX_SDPA
from mmrlhf_jobs.forward.responses import ResponseModel, response_log_probs
from mmrlhf_jobs.models import EncodedGroup, LoadedModel, load_model

# Weights are float64, but the decoder's RMS norms compute in float32.
TOLERANCE = 1e-5


def sums_and_gradients(
    loaded: LoadedModel, groups: list[EncodedGroup], *, shared_prefix: bool, chunk_tokens: int = 256
) -> tuple[Tensor, dict[str, Tensor]]:
    """Log-probabilities, and gradients of a sum in which every response has another weight."""
    loaded.model.zero_grad()
    scored = response_log_probs(
        loaded.model,
        loaded.adapter,
        groups,
        shared_prefix=shared_prefix,
        chunk_tokens=chunk_tokens,
    )
    weights = torch.linspace(-1, 2, len(scored.sums), dtype=scored.sums.dtype)
    (scored.sums * weights).sum().backward()
    gradients = {
        name: parameter.grad.clone()
        for name, parameter in loaded.model.named_parameters()
        if parameter.grad is not None
    }
    return scored.sums.detach(), gradients


def assert_same(
    one: tuple[Tensor, dict[str, Tensor]],
    other: tuple[Tensor, dict[str, Tensor]],
    tolerance: float = TOLERANCE,
) -> None:
    torch.testing.assert_close(one[0], other[0], rtol=tolerance, atol=tolerance)
    assert one[1].keys() == other[1].keys()
    scale = max(float(gradient.abs().max()) for gradient in other[1].values())
    for name, gradient in one[1].items():
        torch.testing.assert_close(
            gradient / scale,
            other[1][name] / scale,
            rtol=tolerance,
            atol=tolerance,
            msg=f"{name}: {{}}".format,
        )


def test_log_probs_are_those_of_the_plain_model(
    loaded: LoadedModel, groups: list[EncodedGroup]
) -> None:
    """The oracle: transformers' own forward pass with images, one response at a time."""
    expected = []
    for group in groups:
        inputs = dict(group.media_inputs)
        if "pixel_values_videos.0" in inputs:
            inputs["pixel_values_videos"] = inputs.pop("pixel_values_videos.0").double()
        if "pixel_values" in inputs:
            inputs["pixel_values"] = inputs["pixel_values"].double()
        for response in group.responses:
            ids = torch.cat([group.prompt_ids, response])[None]
            logits = loaded.model(input_ids=ids, **inputs).logits[0]
            steps = torch.log_softmax(logits, -1)[len(group.prompt_ids) - 1 : -1]
            expected.append(steps.gather(1, response[:, None]).sum())
    scored = response_log_probs(loaded.model, loaded.adapter, groups, shared_prefix=True)
    torch.testing.assert_close(scored.sums, torch.stack(expected), rtol=1e-6, atol=1e-6)
    assert scored.lengths.tolist() == [len(r) for group in groups for r in group.responses]


@pytest.mark.parametrize("name", ["sdpa", "eager"])
def test_shared_prefix_is_exact(tiny: Path, groups: list[EncodedGroup], name: str) -> None:
    loaded = load_model(tiny, dtype="float64", attention=name)  # type: ignore[arg-type]
    shared = sums_and_gradients(loaded, groups, shared_prefix=True)
    separate = sums_and_gradients(loaded, groups, shared_prefix=False)
    assert_same(shared, separate)
    # The weights of the test are large enough for every response to matter.
    assert float(shared[0].abs().min()) > 1


def test_shared_prefix_is_exact_in_float32(tiny: Path, groups: list[EncodedGroup]) -> None:
    loaded = load_model(tiny, dtype="float32", attention="sdpa")
    shared = sums_and_gradients(loaded, groups, shared_prefix=True)
    separate = sums_and_gradients(loaded, groups, shared_prefix=False)
    assert_same(shared, separate, tolerance=1e-4)


@pytest.mark.parametrize("index", range(5))
def test_each_group_alone_is_exact(
    loaded: LoadedModel, groups: list[EncodedGroup], index: int
) -> None:
    shared = sums_and_gradients(loaded, [groups[index]], shared_prefix=True)
    separate = sums_and_gradients(loaded, [groups[index]], shared_prefix=False)
    assert_same(shared, separate)


def plain_causal(
    *args: Any, packed_parts: PackedParts | None = None, **kwargs: Any
) -> tuple[Tensor, None]:
    """What a row gets when nothing keeps its responses apart."""
    del packed_parts
    module, query, key, value, _ = args
    return attention.shared_prefix_attention(module, query, key, value, None, **kwargs)


def test_negative_control_plain_causal_attention_is_noticed(
    loaded: LoadedModel, groups: list[EncodedGroup]
) -> None:
    separate = sums_and_gradients(loaded, [groups[1]], shared_prefix=False)
    AttentionInterface.register(SHARED_PREFIX_SDPA, plain_causal)
    try:
        shared = sums_and_gradients(loaded, [groups[1]], shared_prefix=True)
    finally:
        AttentionInterface.register(SHARED_PREFIX_SDPA, attention.shared_prefix_attention)
    # The first response has nobody before it; all others see what they must not.
    torch.testing.assert_close(shared[0][0], separate[0][0], rtol=1e-6, atol=1e-6)
    assert float((shared[0] - separate[0])[1:].abs().min()) > 1000 * TOLERANCE
    with pytest.raises(AssertionError):
        assert_same(shared, separate)


def test_negative_control_positions_that_run_on_are_noticed(
    loaded: LoadedModel, groups: list[EncodedGroup], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, _ = sums_and_gradients(loaded, [groups[1]], shared_prefix=True)
    decoder = loaded.model.model.language_model
    forward = decoder.forward

    def run_on(**kwargs: Any) -> Any:
        kwargs["position_ids"] = torch.arange(kwargs["inputs_embeds"].shape[1])[None]
        return forward(**kwargs)

    monkeypatch.setattr(decoder, "forward", run_on)
    found, _ = sums_and_gradients(loaded, [groups[1]], shared_prefix=True)
    assert float((found - expected)[1:].abs().min()) > 1e-3


@pytest.mark.parametrize("shared_prefix", [True, False])
def test_batch_composition_and_padding_do_not_matter(
    loaded: LoadedModel, groups: list[EncodedGroup], shared_prefix: bool
) -> None:
    together, gradients = sums_and_gradients(loaded, groups, shared_prefix=shared_prefix)
    alone, start = [], 0
    weights = torch.linspace(-1, 2, len(together), dtype=torch.float64)
    loaded.model.zero_grad()
    for group in groups:
        scored = response_log_probs(
            loaded.model, loaded.adapter, [group], shared_prefix=shared_prefix
        )
        stop = start + len(scored.sums)
        (scored.sums * weights[start:stop]).sum().backward()
        alone.append(scored.sums.detach())
        start = stop
    summed = {n: p.grad for n, p in loaded.model.named_parameters() if p.grad is not None}
    assert_same((together, gradients), (torch.cat(alone), summed))


def test_chunk_size_does_not_matter(loaded: LoadedModel, groups: list[EncodedGroup]) -> None:
    small = sums_and_gradients(loaded, groups, shared_prefix=True, chunk_tokens=3)
    large = sums_and_gradients(loaded, groups, shared_prefix=True, chunk_tokens=10_000)
    assert_same(small, large, tolerance=1e-9)


def test_gradient_checkpointing_does_not_matter(
    loaded: LoadedModel, groups: list[EncodedGroup]
) -> None:
    without = sums_and_gradients(loaded, groups, shared_prefix=True)
    loaded.model.activation_checkpointing_enable()
    calls: list[None] = []
    loaded.model.model.language_model.layers[0].self_attn.register_forward_pre_hook(
        lambda *_: calls.append(None)
    )
    assert_same(sums_and_gradients(loaded, groups, shared_prefix=True), without, tolerance=1e-9)
    assert len(calls) == 2  # the layer ran again in the backward pass


def test_queries_that_share_their_prompts_go_without_padding(
    loaded: LoadedModel, groups: list[EncodedGroup]
) -> None:
    scored = response_log_probs(loaded.model, loaded.adapter, groups, shared_prefix=True)
    tokens = sum(group.tokens for group in groups)
    assert len({group.tokens for group in groups}) > 1
    assert scored.tokens_forwarded == scored.real_tokens == tokens


@pytest.mark.parametrize("shared_prefix", [True, False])
def test_token_counts_are_what_the_decoder_sees(loaded: LoadedModel, shared_prefix: bool) -> None:
    group = loaded.adapter.encode("what is this?", [], ["a", "a dog", "a red dog", "blue circle"])
    seen: list[int] = []
    loaded.model.model.language_model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(int(kwargs["inputs_embeds"].shape[:2].numel())),
        with_kwargs=True,
    )
    scored = response_log_probs(loaded.model, loaded.adapter, [group], shared_prefix=shared_prefix)
    prompt, lengths = len(group.prompt_ids), [len(r) for r in group.responses]
    assert len(lengths) == 4
    assert scored.tokens_forwarded == sum(seen)
    if shared_prefix:
        assert scored.real_tokens == prompt + sum(lengths)
        assert sum(seen) == scored.real_tokens
    else:
        assert scored.real_tokens == sum(prompt + length for length in lengths)
        assert sum(seen) == 4 * (prompt + max(lengths))


def test_scorer_module_is_the_same_function(
    loaded: LoadedModel, groups: list[EncodedGroup]
) -> None:
    scorer = ResponseModel(loaded.model, loaded.adapter, shared_prefix=True)
    expected = response_log_probs(loaded.model, loaded.adapter, groups, shared_prefix=True)
    torch.testing.assert_close(scorer(groups).sums, expected.sums, rtol=0, atol=0)
    assert len(list(scorer.parameters())) == len(list(loaded.model.parameters()))
