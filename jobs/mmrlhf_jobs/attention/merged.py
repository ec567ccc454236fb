"""Attention of packed rows in two calls of a kernel for parts of any length.

Every part sees itself, causally (the first call, over all prompts and responses); every response
sees its whole prompt (the second, without a mask). The two results of a response are averages over
different keys; with the logarithms ``l`` of the sums of their weights they are put together as

    ``o = w o_1 + (1 - w) o_2``,  ``w = sigmoid(l_1 - l_2)``,  ``l = log(e^l_1 + e^l_2)``.

The backward pass of a kernel needs the output and ``l`` to make probabilities of scores again.
Given those of the whole, each call gives its own share of the gradients, and shares add up (Liu et
al., Ring Attention, arXiv 2310.01889, section 3; Dao, FlashAttention-2, arXiv 2307.08691, equations
of its algorithm 2). So nothing is built for a shape, no mask exists, keys and values are copied
neither per response nor per head, and what is kept for the backward pass is what plain attention
keeps.
"""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mmrlhf_jobs.attention.parts import PackedParts, Spans

__all__ = ["CPU_KERNEL", "Inputs", "PartsKernel", "merged_attention"]

Inputs: TypeAlias = tuple[Tensor, Tensor, Tensor]
"""Queries ``[T, heads, D]``, keys and values ``[S, key heads, D]``; the heads divide by the key
heads."""


class PartsKernel(Protocol):
    """Attention of parts of any length, one after the other; part i of the queries sees part i."""

    def forward(
        self,
        inputs: Inputs,
        spans: tuple[Spans, Spans],
        *,
        causal: bool,
        scale: float | None,
    ) -> tuple[Tensor, Tensor]:
        """Attend.

        Args:
            inputs: Queries, keys and values.
            spans: Parts of the queries, and those of the keys.
            causal: Token i of a part sees those up to i of a part as long; else all.
            scale: Factor of the scores; None is ``1 / sqrt(D)``.

        Returns:
            Output ``[T, heads, D]``, and logarithms of the sums of the weights ``[heads, T]``,
            float32 at least.
        """

    def backward(
        self,
        upstream: Tensor,
        inputs: Inputs,
        result: tuple[Tensor, Tensor],
        spans: tuple[Spans, Spans],
        *,
        causal: bool,
        scale: float | None,
    ) -> Inputs:
        """Gradients of query, key and value.

        Args:
            upstream: Gradient of the output.
            inputs: As in the forward pass.
            result: Output and logarithms, which may be those of more keys than these.
            spans: As in the forward pass.
            causal: As in the forward pass.
            scale: As in the forward pass.
        """


class _CpuKernel:
    """One call of torch's flash attention for CPUs per part; fewer key heads are read in place."""

    def forward(
        self,
        inputs: Inputs,
        spans: tuple[Spans, Spans],
        *,
        causal: bool,
        scale: float | None,
    ) -> tuple[Tensor, Tensor]:
        query, key, value = inputs
        output = _empty_like(query)
        wide = torch.promote_types(query.dtype, torch.float32)
        sums = torch.empty(query.shape[1::-1], dtype=wide)
        for at, seen in _slices(spans):
            found = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(  # noqa: SLF001
                _heads_first(query[at]),
                _heads_first(key[seen]),
                _heads_first(value[seen]),
                0.0,
                causal,
                scale=scale,
            )
            output[at] = found[0][0].transpose(0, 1)
            sums[:, at] = found[1][0]
        return output, sums

    def backward(
        self,
        upstream: Tensor,
        inputs: Inputs,
        result: tuple[Tensor, Tensor],
        spans: tuple[Spans, Spans],
        *,
        causal: bool,
        scale: float | None,
    ) -> Inputs:
        query, key, value = inputs
        output, sums = result
        gradients = (_empty_like(query), _empty_like(key), _empty_like(value))
        for at, seen in _slices(spans):
            found = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(  # noqa: SLF001
                _heads_first(upstream[at]),
                _heads_first(query[at]),
                _heads_first(key[seen]),
                _heads_first(value[seen]),
                _heads_first(output[at]),
                # As the forward pass lays them out: heads next to each other.
                sums[:, at].T.contiguous().T[None],
                0.0,
                causal,
                scale=scale,
            )
            for whole, place, part in zip(gradients, (at, seen, seen), found, strict=True):
                whole[place] = part[0].transpose(0, 1)
        return gradients


CPU_KERNEL: PartsKernel = _CpuKernel()


def merged_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    parts: PackedParts,
    *,
    kernel: PartsKernel,
    scale: float | None = None,
) -> Tensor:
    """Attention of a packed row.

    Args:
        query: ``[T, heads, D]``.
        key: ``[T, key heads, D]``.
        value: As ``key``.
        parts: Where prompts and responses are.
        kernel: What attends within and between them.
        scale: Factor of the scores; None is ``1 / sqrt(D)``.

    Returns:
        ``[T, heads, D]``.
    """
    output: Tensor = _Merged.apply(query, key, value, parts, kernel, scale)
    return output


class _Merged(torch.autograd.Function):
    """The two calls, put together."""

    @staticmethod
    def forward(  # noqa: PLR0917 - torch passes by position
        ctx: Any,  # noqa: ANN401 - torch's context takes any attribute
        query: Tensor,
        key: Tensor,
        value: Tensor,
        parts: PackedParts,
        kernel: PartsKernel,
        scale: float | None,
    ) -> Tensor:
        output, sums = kernel.forward(
            (query, key, value), (parts.own, parts.own), causal=True, scale=scale
        )
        answers = parts.answer_places
        seen, seen_sums = kernel.forward(
            (query[answers], key[parts.prompt_places], value[parts.prompt_places]),
            (parts.answers, parts.prompts),
            causal=False,
            scale=scale,
        )
        own_sums = sums[:, answers]
        weight = torch.sigmoid(seen_sums - own_sums).T[..., None]
        own = output[answers].to(weight.dtype)
        output[answers] = torch.lerp(own, seen.to(weight.dtype), weight).to(output.dtype)
        sums[:, answers] = torch.logaddexp(own_sums, seen_sums)
        ctx.save_for_backward(query, key, value, output, sums)
        ctx.parts, ctx.kernel, ctx.scale = parts, kernel, scale
        return output

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any,  # noqa: ANN401
        upstream: Tensor,
    ) -> tuple[Tensor | None, ...]:
        query, key, value, output, sums = ctx.saved_tensors
        parts: PackedParts = ctx.parts
        kernel: PartsKernel = ctx.kernel
        grad_query, grad_key, grad_value = kernel.backward(
            upstream,
            (query, key, value),
            (output, sums),
            (parts.own, parts.own),
            causal=True,
            scale=ctx.scale,
        )
        answers, prompts = parts.answer_places, parts.prompt_places
        by_answers, by_keys, by_values = kernel.backward(
            upstream[answers],
            (query[answers], key[prompts], value[prompts]),
            (output[answers], sums[:, answers].contiguous()),
            (parts.answers, parts.prompts),
            causal=False,
            scale=ctx.scale,
        )
        # Places are all different: the sum is the same in every run.
        grad_query[answers] += by_answers
        grad_key[prompts] += by_keys
        grad_value[prompts] += by_values
        return grad_query, grad_key, grad_value, None, None, None


def _slices(spans: tuple[Spans, Spans]) -> list[tuple[slice, slice]]:
    """Places of the queries and of the keys of each part."""
    found, at, seen = [], 0, 0
    for queries, keys in zip(spans[0].lengths, spans[1].lengths, strict=True):
        found.append((slice(at, at + queries), slice(seen, seen + keys)))
        at, seen = at + queries, seen + keys
    return found


def _empty_like(one: Tensor) -> Tensor:
    return torch.empty_like(one, memory_format=torch.contiguous_format)


def _heads_first(part: Tensor) -> Tensor:
    """``[T, heads, D]`` as ``[1, heads, T, D]``, the same memory."""
    return part.transpose(0, 1)[None]
