"""Attention of packed rows against a softmax over a mask of all tokens, in float64."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from mmrlhf_jobs.attention.layout import RowLayout
from mmrlhf_jobs.attention.merged import CPU_KERNEL, Inputs, merged_attention
from mmrlhf_jobs.attention.parts import PackedParts
from mmrlhf_jobs.attention.split import split_attention

Heads = tuple[int, int]
Attention = Callable[[Inputs, PackedParts, float | None], Tensor]


def by_merging(inputs: Inputs, parts: PackedParts, scale: float | None) -> Tensor:
    return merged_attention(*inputs, parts, kernel=CPU_KERNEL, scale=scale)


def by_splitting(inputs: Inputs, parts: PackedParts, scale: float | None) -> Tensor:
    q, k, v = (one.transpose(0, 1)[None] for one in inputs)
    return split_attention(q, k, v, parts, scale=scale)[0].transpose(0, 1)


def layout_of(prompts: list[int], responses: list[list[int]]) -> RowLayout:
    total = sum(prompts) + sum(map(sum, responses))
    return RowLayout(tuple(prompts), tuple(map(tuple, responses)), total, packed=True)


def random_layout(seed: int) -> RowLayout:
    draw = random.Random(seed)
    prompts = [draw.randint(1, 40) for _ in range(draw.randint(1, 3))]
    return layout_of(
        prompts, [[draw.randint(1, 12) for _ in range(draw.randint(1, 5))] for _ in prompts]
    )


def visible(layout: RowLayout) -> Tensor:
    """``[T, T]``, True where the row sees the column: told token by token, by its owner."""
    owners = [
        (query, part)
        for query, (prompt, responses) in enumerate(
            zip(layout.prompts, layout.responses, strict=True)
        )
        for part, length in enumerate((prompt, *responses))
        for _ in range(length)
    ]
    return torch.tensor(
        [
            [
                one[0] == other[0] and other[1] in {0, one[1]} and seen <= at
                for seen, other in enumerate(owners)
            ]
            for at, one in enumerate(owners)
        ]
    )


def plainly(inputs: Inputs, mask: Tensor, scale: float | None) -> Tensor:
    q, k, v = inputs
    groups = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    scores = torch.einsum("thd,shd->hts", q, k) * (q.shape[-1] ** -0.5 if scale is None else scale)
    return torch.einsum("hts,shd->thd", scores.masked_fill(~mask, -torch.inf).softmax(-1), v)


def tensors(layout: RowLayout, heads: Heads, dtype: torch.dtype) -> Inputs:
    generator = torch.Generator().manual_seed(layout.length)

    def draw(count: int) -> Tensor:
        numbers = torch.randn(layout.length, count, 16, generator=generator, dtype=torch.float64)
        return numbers.to(dtype).requires_grad_()

    return draw(heads[0]), draw(heads[1]), draw(heads[1])


def widened(inputs: Inputs) -> Inputs:
    q, k, v = (one.detach().double().requires_grad_() for one in inputs)
    return q, k, v


def outcome(output: Tensor, inputs: Inputs) -> list[Tensor]:
    """Output, and gradients of a sum in which every number weighs something else."""
    weights = torch.linspace(-1, 2, output.numel(), dtype=output.dtype).view(output.shape)
    return [output.detach(), *torch.autograd.grad((output * weights).sum(), inputs)]


@pytest.mark.parametrize("attention", [by_merging, by_splitting])
@pytest.mark.parametrize("heads", [(4, 4), (6, 2), (3, 1)])
@pytest.mark.parametrize("seed", range(6))
def test_output_and_gradients(attention: Attention, heads: Heads, seed: int) -> None:
    layout = random_layout(seed)
    parts = PackedParts.of(layout, torch.device("cpu"))
    scale = None if seed % 2 else 0.4
    inputs = tensors(layout, heads, torch.float64)
    found = outcome(attention(inputs, parts, scale), inputs)
    expected = outcome(plainly(inputs, visible(layout), scale), inputs)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_negative_control_responses_that_see_each_other() -> None:
    layout = layout_of([5], [[3, 4]])
    inputs = tensors(layout, (2, 1), torch.float64)
    parts = PackedParts.of(layout, torch.device("cpu"))
    found = by_merging(inputs, parts, None)
    causal = torch.ones(layout.length, layout.length, dtype=torch.bool).tril()
    apart = (found - plainly(inputs, causal, None)).detach().abs().amax((1, 2))
    assert float(apart[:8].max()) < 1e-12
    assert float(apart[8:].min()) > 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_narrow_formats_round_as_one_call_would(dtype: torch.dtype) -> None:
    layout = layout_of([30, 9], [[12, 1, 5], [7, 7]])
    inputs = tensors(layout, (6, 2), dtype)
    parts = PackedParts.of(layout, torch.device("cpu"))
    found = outcome(by_merging(inputs, parts, None), inputs)
    wide = widened(inputs)
    expected = outcome(plainly(wide, visible(layout), None), wide)
    unit = torch.finfo(dtype).eps
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == dtype
        assert float((one.double() - other).norm() / other.norm()) < 2 * unit


def test_scores_that_are_large_stay_finite() -> None:
    layout = layout_of([6], [[4, 3]])
    q, k, v = (one.detach() * 40 for one in tensors(layout, (2, 2), torch.float32))
    inputs = (q, k, v)
    parts = PackedParts.of(layout, torch.device("cpu"))
    output = by_merging(inputs, parts, None)
    expected = plainly(widened(inputs), visible(layout), None).detach()
    torch.testing.assert_close(output.double(), expected, rtol=1e-4, atol=1e-3)


class _Watch(TorchDispatchMode):
    """Notes each operator, and the largest tensor that any made."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        result = func(*args, **(kwargs or {}))
        self.names.add(str(func))
        for one in result if isinstance(result, tuple) else (result,):
            if isinstance(one, Tensor):
                self.largest = max(self.largest, one.numel())
        return result


def test_no_mask_is_made_and_no_key_is_copied_to_all_heads() -> None:
    layout = layout_of([300, 200], [[60, 50, 40, 30], [20, 90]])
    inputs = tensors(layout, (8, 1), torch.float32)
    parts = PackedParts.of(layout, torch.device("cpu"))
    with _Watch() as watch:
        outcome(by_merging(inputs, parts, None), inputs)
    assert watch.largest == inputs[0].numel()  # as large as the queries: 790 x 8 x 16
    assert not any(word in name for name in watch.names for word in ("tril", "mask", "repeat"))
