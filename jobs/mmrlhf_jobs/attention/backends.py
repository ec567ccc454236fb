"""What a decoder must be given so that the parts of a row attend as they should, by its attention.

A decoder's configuration names its attention. One entry of :data:`BACKENDS` for each name that can
take rows ``[prompt | response 1 | response 2 | ...]``; the project's own takes all queries packed
into one. Any attention can take ``[prompt | response]``, padded on the right.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from transformers import PretrainedConfig

from mmrlhf_jobs.attention.layout import RowLayout
from mmrlhf_jobs.attention.parts import PackedParts
from mmrlhf_jobs.attention.split import SHARED_PREFIX_SDPA, SHARED_PREFIX_SPLIT

__all__ = [
    "BACKENDS",
    "CAUSAL",
    "AttentionBackend",
    "shared_prefix_backend",
    "take_way",
    "ways",
]


class AttentionBackend(Protocol):
    """One way to keep the parts of a row apart.

    Attributes:
        packs: It takes all queries in one row without padding, and such a row alone.
    """

    packs: bool

    def inputs(
        self, layout: RowLayout, *, dtype: torch.dtype, device: torch.device
    ) -> dict[str, Tensor | PackedParts]:
        """Keyword arguments of the decoder for rows of this layout.

        Args:
            layout: Where prompts and responses are.
            dtype: Number format of the embeddings.
            device: Where the decoder is.
        """


class _Causal:
    """Rows of one response each, under the causal mask of any attention."""

    packs = False

    def inputs(
        self, layout: RowLayout, *, dtype: torch.dtype, device: torch.device
    ) -> dict[str, Tensor | PackedParts]:
        del dtype
        # Right padding under a causal mask is seen by no token that counts: a 2-D mask is enough.
        used = torch.tensor(layout.used, device=device)
        places = torch.arange(layout.length, device=device)
        return {"attention_mask": (places < used[:, None]).long()}


class _Packed:
    """The project's own attention, which is told where the parts are and needs no mask."""

    packs = True

    def inputs(
        self, layout: RowLayout, *, dtype: torch.dtype, device: torch.device
    ) -> dict[str, Tensor | PackedParts]:
        del dtype
        # A mask of four dimensions is taken as it is; without one, transformers would make one.
        unused = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=device)
        return {"attention_mask": unused, "packed_parts": PackedParts.of(layout, device)}


class _BooleanMask:
    """Attention that takes a mask of all tokens, where True attends.

    A mask of four dimensions is taken as it is; without one, positions that restart would be read
    as independent documents and the responses would lose their prompt.
    """

    packs = False

    def inputs(
        self, layout: RowLayout, *, dtype: torch.dtype, device: torch.device
    ) -> dict[str, Tensor | PackedParts]:
        del dtype
        return {"attention_mask": layout.full_mask().to(device)}


class _AdditiveMask:
    """Attention that adds a mask of all tokens to the scores."""

    packs = False

    def inputs(
        self, layout: RowLayout, *, dtype: torch.dtype, device: torch.device
    ) -> dict[str, Tensor | PackedParts]:
        mask = layout.full_mask().to(device)
        lowest = torch.finfo(dtype).min
        return {"attention_mask": torch.zeros_like(mask, dtype=dtype).masked_fill(~mask, lowest)}


CAUSAL: AttentionBackend = _Causal()
"""For rows of one response each."""

BACKENDS: dict[str, AttentionBackend] = {
    SHARED_PREFIX_SDPA: _Packed(),
    SHARED_PREFIX_SPLIT: _Packed(),
    "sdpa": _BooleanMask(),
    "eager": _AdditiveMask(),
}
"""For rows whose responses share a prompt, by the name in a configuration."""


def shared_prefix_backend(config: PretrainedConfig) -> AttentionBackend | None:
    """How a decoder's attention keeps responses apart; None if it takes no mask of its own."""
    return BACKENDS.get(str(getattr(config, "_attn_implementation", None)))


def ways(config: PretrainedConfig) -> tuple[str, ...]:
    """Attentions that a decoder's rows can take, by name, the one of its configuration first."""
    own = str(getattr(config, "_attn_implementation", None))
    return (own, SHARED_PREFIX_SPLIT) if own == SHARED_PREFIX_SDPA else (own,)


def take_way(config: PretrainedConfig, way: str) -> None:
    """Let a decoder attend by one of its :func:`ways`; its layers read it in every pass."""
    config._attn_implementation = way  # noqa: SLF001 - the setter of transformers
