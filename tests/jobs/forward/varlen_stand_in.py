"""What stands in for the kernel under torch's ``varlen_attn``, which runs on NVIDIA's cards alone.

Token by token in plain torch, by what torch documents and FlashAttention-2 defines: parts begin and
end where the cumulative lengths say; with ``is_causal``, token i of m queries sees keys up to
``n - m + i`` of n; the backward pass makes probabilities from the sums that it is given, whatever
they are of. All of ``varlen_attn`` above the kernel is torch's own and runs.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

__all__ = ["StandIn"]


class StandIn:
    """Both directions of the kernel, and the calls that it got.

    Attributes:
        calls: Per call its direction, lengths of the parts of queries and keys, and whether it was
            causal.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[int], list[int], bool]] = []
        self._fault = 1.0

    def put(self, monkeypatch: pytest.MonkeyPatch, *, fault: float = 1.0) -> None:
        """Put it in the place of torch's operators, wrong by a factor of the scores."""
        self._fault = fault
        monkeypatch.setattr(torch.ops.aten, "_flash_attention_forward", self.forward)
        monkeypatch.setattr(torch.ops.aten, "_flash_attention_backward", self.backward)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, *rest: Any, **how: Any
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        scale = self._fault * (query.shape[-1] ** -0.5 if how["scale"] is None else how["scale"])
        output = torch.full_like(query, torch.nan, memory_format=torch.contiguous_format)
        sums = query.new_full((query.shape[1], len(query)), torch.nan)
        for at, seen, hidden in self._parts("forward", query, key, (*rest[:4], rest[5]), how):
            scores = _scores(query[at], key[seen], scale).masked_fill(hidden, -torch.inf)
            sums[:, at] = scores.logsumexp(-1)
            output[at] = torch.einsum("hts,shd->thd", scores.softmax(-1), _wide(value[seen], query))
        nothing = query.new_empty(0)
        return output, sums, nothing, nothing, nothing

    def backward(
        self, upstream: Tensor, query: Tensor, key: Tensor, value: Tensor, *rest: Any, **how: Any
    ) -> tuple[Tensor, Tensor, Tensor]:
        output, sums, *where = rest
        assert sums.shape == (query.shape[1], len(query))
        scale = query.shape[-1] ** -0.5 if how["scale"] is None else how["scale"]
        groups = query.shape[1] // key.shape[1]
        found = [torch.full_like(one, torch.nan) for one in (query, key, value)]
        for at, seen, hidden in self._parts("backward", query, key, (*where[:4], where[5]), how):
            keys, values = _wide(key[seen], query), _wide(value[seen], query)
            scores = _scores(query[at], key[seen], scale).masked_fill(hidden, -torch.inf)
            weights = (scores - sums[:, at, None]).exp()
            slope = torch.einsum("thd,shd->hts", upstream[at], values)
            slope -= (upstream[at] * output[at]).sum(-1).T[..., None]
            slope *= weights * scale
            found[0][at] = torch.einsum("hts,shd->thd", slope, keys)
            for whole, wide in (
                (found[1], torch.einsum("hts,thd->shd", slope, query[at])),
                (found[2], torch.einsum("hts,thd->shd", weights, upstream[at])),
            ):
                whole[seen] = wide.unflatten(1, (-1, groups)).sum(2)
        return found[0], found[1], found[2]

    def _parts(
        self,
        direction: str,
        query: Tensor,
        key: Tensor,
        where: tuple[Any, ...],
        how: dict[str, Any],
    ) -> Iterator[tuple[slice, slice, Tensor]]:
        query_ends, key_ends, most_queries, most_keys, causal = where
        assert query_ends.dtype == key_ends.dtype == torch.int32
        assert (how["window_size_left"], how["window_size_right"]) == (-1, 0 if causal else -1)
        ends = query_ends.tolist(), key_ends.tolist()
        assert (ends[0][-1], ends[1][-1]) == (len(query), len(key))
        lengths = [[end - begin for begin, end in itertools.pairwise(one)] for one in ends]
        assert (max(lengths[0]), max(lengths[1])) == (most_queries, most_keys)
        self.calls.append((direction, lengths[0], lengths[1], causal))
        for begin, start, count, length in zip(ends[0], ends[1], *lengths, strict=False):
            below = torch.ones(count, length, dtype=torch.bool).tril(length - count)
            hidden = ~below if causal else torch.zeros_like(below)
            yield slice(begin, begin + count), slice(start, start + length), hidden


def _wide(part: Tensor, query: Tensor) -> Tensor:
    return part.repeat_interleave(query.shape[1] // part.shape[1], 1)


def _scores(query: Tensor, key: Tensor, scale: float) -> Tensor:
    return torch.einsum("thd,shd->hts", query, _wide(key, query)) * scale
