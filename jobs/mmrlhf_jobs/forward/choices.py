"""Picking of the next tokens: the likeliest, or drawn from a stream of each row's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from transformers import TopPLogitsWarper

__all__ = ["Choose", "choose_likeliest", "choose_sampled"]

Choose = Callable[[Tensor, Sequence[int], int], Tensor]
"""Picks the next token of every row: logits ``[B, V]``, the rows' numbers, and how many tokens they
have so far -> ids ``[B]``."""


def choose_likeliest(logits: Tensor, rows: Sequence[int], length: int) -> Tensor:
    """Greedy decoding."""
    del rows, length
    return logits.argmax(-1)


def choose_sampled(seeds: Sequence[int], *, temperature: float, top_p: float = 1.0) -> Choose:
    """Sampling from ``softmax(logits / temperature)``, by inverting the distribution.

    A row's text depends on its own seed alone, not on what else is in the batch, up to rounding
    where two tokens are about as likely.

    Args:
        seeds: Seed of each row.
        temperature: Above 0.
        top_p: Nucleus, in (0, 1]: the likeliest tokens that have this share together; 1 for all.
    """
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    nucleus = TopPLogitsWarper(top_p) if top_p < 1 else None

    def choose(logits: Tensor, rows: Sequence[int], length: int) -> Tensor:
        del length
        uniforms = [torch.rand(1, generator=generators[row], dtype=torch.float64) for row in rows]
        scores = logits.double() / temperature
        if nucleus is not None:
            scores = nucleus(None, scores)
        cumulative = torch.softmax(scores, -1).cumsum(-1)
        # The last sum is 1 up to rounding; a draw beyond it would be no token.
        draws = torch.stack(uniforms).to(logits.device) * cumulative[:, -1:]
        return torch.searchsorted(cumulative, draws, right=True)[:, 0].clamp(
            max=logits.shape[-1] - 1
        )

    return choose
