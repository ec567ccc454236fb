"""The kernel for parts of any length on NVIDIA's cards: torch's ``varlen_attn``.

All parts go in one call, which is told where they begin and end by a tensor on the card and how
long the longest is. Nothing is compiled or planned for a shape, fewer key heads are read in place,
and the sums of the weights are returned (``torch.nn.attention.varlen``, torch 2.13).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.attention import varlen

from mmrlhf_jobs.attention.merged import Inputs, PartsKernel
from mmrlhf_jobs.attention.parts import Spans

__all__ = ["VARLEN_KERNEL"]

_CAUSAL = (-1, 0)
_ALL = (-1, -1)
"""Tokens that are seen on the left and on the right; -1 is all."""


class _VarlenKernel:
    """One call of the kernel each way, whatever the parts."""

    def forward(
        self,
        inputs: Inputs,
        spans: tuple[Spans, Spans],
        *,
        causal: bool,
        scale: float | None,
    ) -> tuple[Tensor, Tensor]:
        query, key, value = inputs
        output, sums = varlen.varlen_attn(
            query,
            key,
            value,
            spans[0].ends,
            spans[1].ends,
            spans[0].longest,
            spans[1].longest,
            return_aux=varlen.AuxRequest(lse=True),
            scale=scale,
            window_size=_CAUSAL if causal else _ALL,
            enable_gqa=query.shape[1] != key.shape[1],
        )
        # Its documentation says ``[T, heads]``; it is what its backward pass takes that counts.
        expected = (query.shape[1], query.shape[0])
        if tuple(sums.shape) != expected:
            raise RuntimeError(
                f"varlen_attn of torch {torch.__version__} gives sums of shape "
                f"{tuple(sums.shape)}, and {expected} was expected"
            )
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
        # Of the random numbers of dropout, which there is none of.
        state = torch.zeros(2, dtype=torch.uint64, device=query.device)
        gradients: Inputs = torch.ops.torch_attn._varlen_attn_backward(  # noqa: SLF001
            upstream,
            query,
            key,
            value,
            output,
            sums,
            spans[0].ends,
            spans[1].ends,
            spans[0].longest,
            spans[1].longest,
            causal,
            state,
            scale,
            list(_CAUSAL if causal else _ALL),
        )
        return gradients


VARLEN_KERNEL: PartsKernel = _VarlenKernel()
