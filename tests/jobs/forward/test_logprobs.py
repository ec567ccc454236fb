"""Chunked log-probabilities against plain log_softmax."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mmrlhf_jobs.forward import logprobs, responses
from mmrlhf_jobs.forward.logprobs import choose_chunk, logit_memory, token_log_probs
from mmrlhf_jobs.models import LoadedModel


def inputs(dtype: torch.dtype, *, tokens: int = 7) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        value = torch.randn(*shape, generator=generator, dtype=torch.float64) * 2
        return value.to(dtype).requires_grad_()

    targets = torch.randint(0, 11, (tokens,), generator=generator)
    return random(tokens, 5), random(11, 5), random(11), targets


def plain(hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
    logits = torch.nn.functional.linear(hidden, weight, bias)
    return torch.log_softmax(logits, dim=-1).gather(1, targets[:, None])[:, 0]


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("chunk", [1, 3, 7, 100])
def test_gradients_by_finite_differences(chunk: int, with_bias: bool) -> None:
    hidden, weight, bias, targets = inputs(torch.float64)
    used = bias if with_bias else None
    torch.testing.assert_close(
        token_log_probs(hidden, weight, used, targets, chunk_tokens=chunk),
        plain(hidden, weight, used, targets),
        rtol=1e-12,
        atol=1e-12,
    )
    if with_bias:
        assert torch.autograd.gradcheck(
            lambda h, w, b: token_log_probs(h, w, b, targets, chunk_tokens=chunk),
            (hidden, weight, bias),
        )
    else:
        assert torch.autograd.gradcheck(
            lambda h, w: token_log_probs(h, w, None, targets, chunk_tokens=chunk), (hidden, weight)
        )


def test_float32_result_and_gradient_do_not_depend_on_the_chunk() -> None:
    results = []
    for chunk in (2, 64):
        hidden, weight, bias, targets = inputs(torch.float32, tokens=64)
        value = token_log_probs(hidden, weight, bias, targets, chunk_tokens=chunk)
        (value * torch.linspace(-1, 1, 64)).sum().backward()
        results.append((value.detach(), hidden.grad, weight.grad, bias.grad))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_bfloat16_is_summed_in_float32() -> None:
    hidden, weight, bias, targets = inputs(torch.bfloat16, tokens=64)
    value = token_log_probs(hidden, weight, bias, targets, chunk_tokens=8)
    assert value.dtype == torch.float32
    value.sum().backward()
    wide = [part.detach().float().requires_grad_() for part in (hidden, weight, bias)]
    expected = plain(wide[0], wide[1], wide[2], targets)
    # The logits are rounded to bfloat16 by the linear layer, nothing else is.
    torch.testing.assert_close(value, expected, rtol=0.02, atol=0.1)
    expected.sum().backward()
    torch.testing.assert_close(weight.grad, wide[1].grad, rtol=0.05, atol=0.3, check_dtype=False)


def test_autocast_backward_sees_the_logits_of_the_forward_pass() -> None:
    hidden, weight, bias, targets = inputs(torch.float32, tokens=16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = token_log_probs(hidden, weight, bias, targets, chunk_tokens=4)
    value.sum().backward()
    narrow = [part.detach().bfloat16() for part in (hidden, weight, bias)]
    inner = [part.clone().requires_grad_() for part in narrow]
    same = token_log_probs(inner[0], inner[1], inner[2], targets, chunk_tokens=4)
    same.sum().backward()
    torch.testing.assert_close(value, same, rtol=0, atol=0)
    for outer, part in zip((hidden, weight, bias), inner, strict=True):
        assert outer.grad is not None
        assert part.grad is not None
        torch.testing.assert_close(outer.grad, part.grad.float(), rtol=0, atol=0)


def test_frozen_inputs_get_no_gradient() -> None:
    hidden, weight, bias, targets = inputs(torch.float32)
    weight.requires_grad_(False)
    bias.requires_grad_(False)
    token_log_probs(hidden, weight, bias, targets, chunk_tokens=3).sum().backward()
    assert hidden.grad is not None
    assert weight.grad is None


def test_no_matrix_of_all_logits_exists() -> None:
    """The largest tensor made in forward and backward pass is one chunk of logits."""
    from torch.utils._python_dispatch import TorchDispatchMode

    sizes: list[int] = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(
            self,
            func: Callable[..., Any],
            types: Any,
            args: tuple[Any, ...] = (),
            kwargs: dict[str, Any] | None = None,
        ) -> Any:
            out = func(*args, **(kwargs or {}))
            if isinstance(out, Tensor):
                sizes.append(out.numel())
            return out

    hidden = torch.randn(512, 4, requires_grad=True)
    weight = torch.randn(1000, 4, requires_grad=True)
    targets = torch.randint(0, 1000, (512,))
    with Watch():
        token_log_probs(hidden, weight, None, targets, chunk_tokens=16).sum().backward()
    assert max(sizes) == 16 * 1000


@given(vocabulary=st.integers(1, 300_000), budget=st.integers(0, 10**11))
def test_chunks_fill_their_memory_and_no_more(vocabulary: int, budget: int) -> None:
    chunk = choose_chunk(vocabulary, budget)
    assert chunk & (chunk - 1) == 0
    assert chunk == 64 or 4 * vocabulary * chunk <= budget
    assert 4 * vocabulary * 2 * chunk > budget


def test_chunks_of_known_sizes() -> None:
    host = logit_memory(torch.device("cpu"))
    assert choose_chunk(152_064, host) == 256
    assert choose_chunk(32_000, host) == 1024
    assert choose_chunk(152_064, 85_000_000_000 // 64) == 2048  # 80 GB


@pytest.mark.parametrize("budget", [4 * 320 * 64, 4 * 320 * 200])
def test_the_head_takes_as_many_as_its_memory_holds(
    loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch, budget: int
) -> None:
    monkeypatch.setattr(responses, "logit_memory", lambda device: budget)
    head = responses.LogProbHead(loaded.model, loaded.adapter, None)
    layer = loaded.adapter.output_layer(loaded.model)
    made: list[int] = []
    real = logprobs._logits

    def note(hidden: Tensor, *rest: Any) -> Tensor:
        made.append(len(hidden))
        return real(hidden, *rest)

    monkeypatch.setattr(logprobs, "_logits", note)
    hidden = torch.randn(300, layer.in_features, dtype=torch.float64)
    targets = torch.randint(0, layer.out_features, (300,))
    found = head(hidden, targets)
    chunk = choose_chunk(layer.out_features, budget)
    assert made == [chunk] * (300 // chunk) + [300 % chunk]
    plain = torch.log_softmax(hidden @ layer.weight.T, -1).gather(1, targets[:, None])[:, 0]
    torch.testing.assert_close(found, plain, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("tokens", "made"), [(7, 1 + 0), (16, 1 + 0), (17, 2 + 1), (40, 3 + 2)])
def test_the_last_chunk_is_made_once(
    monkeypatch: pytest.MonkeyPatch, tokens: int, made: int
) -> None:
    calls: list[int] = []
    real = logprobs._logits

    def note(hidden: Tensor, *rest: Any) -> Tensor:
        calls.append(len(hidden))
        return real(hidden, *rest)

    monkeypatch.setattr(logprobs, "_logits", note)
    hidden, weight, bias, targets = inputs(torch.float64, tokens=tokens)
    value = token_log_probs(hidden, weight, bias, targets, chunk_tokens=16).sum()
    first = torch.autograd.grad(value, (hidden, weight, bias), retain_graph=True)
    assert len(calls) == made
    # Its memory is used up by then, so all are made again.
    again = torch.autograd.grad(value, (hidden, weight, bias))
    assert len(calls) == made + -(-tokens // 16)
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
