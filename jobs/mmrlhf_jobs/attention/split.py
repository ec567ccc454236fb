"""Attention over packed rows ``[prompt A | response 1 | response 2 | ... | prompt B | ...]``.

Every response attends to its prompt and to itself, never to another response or another query, so
each gets the result of a forward pass of its own. Where a kernel tells the sums of its weights,
that is two calls (:mod:`mmrlhf_jobs.attention.merged`). Elsewhere the attention is split: prompts
with plain causal attention, each response over ``[prompt, itself]``, aligned at the end. Nothing is
computed between responses, and no mask of the whole row exists.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.attention.bias import causal_lower_right
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from mmrlhf_jobs.attention.forms import SPLIT, Asked, Choice, choose_form, read_card
from mmrlhf_jobs.attention.merged import CPU_KERNEL, PartsKernel, merged_attention
from mmrlhf_jobs.attention.parts import PackedParts
from mmrlhf_jobs.attention.varlen import VARLEN_KERNEL

__all__ = [
    "SHARED_PREFIX_SDPA",
    "SHARED_PREFIX_SPLIT",
    "register_shared_prefix_attention",
    "shared_prefix_attention",
    "split_attention",
]

SHARED_PREFIX_SDPA = "mmrlhf_sdpa"
"""In two calls where a kernel can, else split."""
SHARED_PREFIX_SPLIT = "mmrlhf_sdpa_split"
"""Always split."""


def shared_prefix_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    packed_parts: PackedParts | None = None,
    scaling: float | None = None,
    two_calls: bool = True,
    **kwargs: object,
) -> tuple[Tensor, None]:
    """Attention function of transformers' interface; plain SDPA without parts.

    Args:
        module: Attention layer.
        query: ``[B, heads, L, D]``; B is 1 with parts.
        key: ``[B, key heads, L, D]``.
        value: As ``key``, maybe with another D.
        attention_mask: Not looked at with parts.
        packed_parts: Where prompts and responses are.
        scaling: Factor of the scores.
        two_calls: Take two calls where a kernel can.
        **kwargs: Passed on to plain SDPA.

    Returns:
        Output ``[B, L, heads, D]``, and None for the weights.
    """
    if packed_parts is None:
        plain: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **kwargs
        )
        return plain
    if torch.is_autocast_enabled(query.device.type):
        # As torch does for its own attention.
        narrow = torch.get_autocast_dtype(query.device.type)
        query, key, value = query.to(narrow), key.to(narrow), value.to(narrow)
    choice = Choice(SPLIT)
    if two_calls:
        card = read_card(query.device)
        sizes = query.shape[-1], value.shape[-1]
        choice = choose_form(Asked(query.device.type, query.dtype, *sizes, card))
    packed_parts.note(choice)
    if choice.form != SPLIT:
        q, k, v = (part[0].transpose(0, 1) for part in (query, key, value))
        kernel: PartsKernel = CPU_KERNEL if choice.form == "cpu" else VARLEN_KERNEL
        merged = merged_attention(q, k, v, packed_parts, kernel=kernel, scale=scaling)
        return merged[None], None
    output = split_attention(query, key, value, packed_parts, scale=scaling)
    return output.transpose(1, 2).contiguous(), None


def split_attention(
    query: Tensor, key: Tensor, value: Tensor, parts: PackedParts, *, scale: float | None = None
) -> Tensor:
    """One call for each prompt and each response, by torch's own attention.

    Args:
        query: ``[1, heads, L, D]``.
        key: ``[1, key heads, L, D]``.
        value: As ``key``, maybe with another D.
        parts: Where prompts and responses are.
        scale: Factor of the scores.

    Returns:
        ``[1, heads, L, D]``.
    """
    layout, outputs = parts.layout, []
    for start, prompt, responses in zip(
        layout.starts, layout.prompts, layout.responses, strict=True
    ):
        end = start + prompt
        q, k, v = (part[:, :, start:end] for part in (query, key, value))
        outputs.append(_attend(q, k, v, scale))
        for count in responses:
            own = slice(end, end + count)
            end += count
            keys, values = (
                torch.cat([before, part[:, :, own]], dim=2)
                for before, part in ((k, key), (v, value))
            )
            outputs.append(_attend(query[:, :, own], keys, values, scale))
    return torch.cat(outputs, dim=2)


def _attend(query: Tensor, key: Tensor, value: Tensor, scale: float | None) -> Tensor:
    """Causal attention aligned at the end; keys of fewer heads are not copied to all."""
    whole = query.shape[2] == key.shape[2]
    bias = None if whole else causal_lower_right(query.shape[2], key.shape[2])
    groups = query.shape[1] // key.shape[1]
    if groups == 1 or (query.is_cuda and query.dtype in (torch.float16, torch.bfloat16)):
        # Flash attention takes them as they are.
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask=bias, is_causal=whole, scale=scale, enable_gqa=groups > 1
        )
    # Heads that share keys as heads of one item of a batch: the keys of each item are seen by all.
    spread = F.scaled_dot_product_attention(
        query[0].unflatten(0, (-1, groups)),
        key[0][:, None].expand(-1, groups, -1, -1),
        value[0][:, None].expand(-1, groups, -1, -1),
        attn_mask=bias,
        is_causal=whole,
        scale=scale,
    )
    return spread.flatten(0, 1)[None]


def register_shared_prefix_attention() -> None:
    """Make the attention known to transformers, in both ways."""
    AttentionInterface.register(SHARED_PREFIX_SDPA, shared_prefix_attention)
    split = partial(shared_prefix_attention, two_calls=False)
    AttentionInterface.register(SHARED_PREFIX_SPLIT, split)
    # Calls without parts (generation, one response per row) get the masks of plain SDPA.
    AttentionMaskInterface.register(SHARED_PREFIX_SDPA, sdpa_mask)
    AttentionMaskInterface.register(SHARED_PREFIX_SPLIT, sdpa_mask)
