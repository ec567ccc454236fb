"""What the layers of a language model keep for the backward pass, counted without computing.

torch's meta device runs a forward pass of shapes alone: no weight is read and no number is made.
Attention is stood in for by what its kernels keep, which are their inputs, their output and a
number per row and head, and no matrix of weights (Dao et al., FlashAttention, arXiv 2205.14135,
algorithm 2).
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from transformers import AttentionInterface, AttentionMaskInterface

__all__ = ["PROBE", "count_kept", "register_probe"]

PROBE: Final = "mmrlhf_memory_probe"
"""Name of the attention that keeps what kernels keep."""

_TOKENS: Final = 256
"""What is kept grows with the tokens and with nothing else, so any number tells it."""


class _Kept(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch's context takes any attribute
        query: Tensor,
        key: Tensor,
        value: Tensor,
    ) -> Tensor:
        output = query.new_empty(*query.shape[:-1], value.shape[-1])
        sums = query.new_empty(query.shape[:-1], dtype=torch.float32)
        ctx.save_for_backward(query, key, value, output, sums)
        return output


def _attend(
    _module: nn.Module, query: Tensor, key: Tensor, value: Tensor, _mask: object, **_: object
) -> tuple[Tensor, None]:
    output: Tensor = _Kept.apply(query, key, value)
    return output.transpose(1, 2).contiguous(), None


def register_probe() -> None:
    """Make the probe known to transformers as an attention."""
    AttentionInterface.register(PROBE, _attend)
    AttentionMaskInterface.register(PROBE, lambda *_, **__: None)


def count_kept(decoder: nn.Module, *, hidden: int, dtype: torch.dtype, meant: torch.dtype) -> float:
    """Bytes per token that a language model's layers keep for the backward pass.

    Args:
        decoder: The language model on the meta device, in train mode, with ``requires_grad`` as it
            is wanted and `PROBE` as its attention; nothing of it is recomputed.
        hidden: Its hidden size.
        dtype: What it computes in.
        meant: What it is to compute in: numbers of the one format are counted as of the other.

    Raises:
        RuntimeError: Its forward pass looks at numbers, of which there are none.
        NotImplementedError: Likewise.
    """
    weights = {one.untyped_storage()._cdata for one in decoder.parameters()}  # noqa: SLF001
    found: dict[int, Tensor] = {}

    def note(one: Tensor) -> Tensor:
        place = one.untyped_storage()._cdata  # noqa: SLF001 - meta tensors have no address
        if place not in weights:
            found[place] = one
        return one

    # Features and embeddings may be trained, so the first layer's backward pass is always needed.
    embedded = torch.empty(1, _TOKENS, hidden, dtype=dtype, device="meta", requires_grad=True)
    # A mask of four dimensions is passed on without being looked at.
    mask = torch.empty(1, 1, 1, 1, dtype=torch.bool, device="meta")
    with saved_tensors_hooks(note, lambda one: one):
        output = decoder(inputs_embeds=embedded, attention_mask=mask, use_cache=False)
    del output  # what was noted is alive until here, so that no place is taken twice
    scale = {dtype: meant.itemsize / dtype.itemsize}
    bytes_of = ((one.untyped_storage().nbytes(), one.dtype) for one in found.values())
    return sum(count * scale.get(kind, 1.0) for count, kind in bytes_of) / _TOKENS
