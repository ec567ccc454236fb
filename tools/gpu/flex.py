"""FlexAttention over packed rows, to compare with; jobs do not have it (ADR 0020).

One block mask is made for each row, and one kernel is compiled for any length: rows are filled up
to whole blocks, and lengths are marked as dynamic. What is compiled anew all the same is counted,
and bounded by torch (``torch._dynamo.config.recompile_limit``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from mmrlhf_jobs.attention.backends import BACKENDS
from mmrlhf_jobs.attention.parts import PackedParts
from mmrlhf_jobs.attention.split import SHARED_PREFIX_SDPA

__all__ = ["FLEX", "FlexAttention", "register_flex"]

FLEX: Final = "tools_flex"
"""Its name in a configuration."""
_BLOCK: Final = 128


class FlexAttention:
    """Attention function of transformers' interface; plain SDPA without parts.

    Args:
        attend: ``flex_attention``, compiled or as it is written.
    """

    def __init__(self, attend: Callable[..., Any]) -> None:
        self._attend = attend
        self._made: tuple[PackedParts, BlockMask] | None = None

    def __call__(
        self,
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        *,
        packed_parts: PackedParts | None = None,
        scaling: float | None = None,
        **kwargs: object,
    ) -> tuple[Tensor, None]:
        """Attend; arguments and result are those of `shared_prefix_attention`."""
        if packed_parts is None:
            plain: tuple[Tensor, None] = sdpa_attention_forward(
                module, query, key, value, attention_mask, scaling=scaling, **kwargs
            )
            return plain
        length = query.shape[2]
        spare = -length % _BLOCK
        query, key, value = (F.pad(one, (0, 0, 0, spare)) for one in (query, key, value))
        found: Tensor = self._attend(
            query,
            key,
            value,
            block_mask=self._mask(packed_parts, length + spare, query.device),
            scale=scaling,
            enable_gqa=query.shape[1] != key.shape[1],
        )
        return found[:, :, :length].transpose(1, 2).contiguous(), None

    def _mask(self, parts: PackedParts, length: int, device: torch.device) -> BlockMask:
        """That of a row, made once for all layers."""
        if self._made is None or self._made[0] is not parts:
            self._made = (parts, _make_mask(parts, length, device))
        return self._made[1]


def _make_mask(parts: PackedParts, length: int, device: torch.device) -> BlockMask:
    """Tokens see those before them of their prompt and of their own response."""
    layout = parts.layout
    owners = torch.full((length,), -1)  # what fills up sees itself
    pieces = torch.zeros(length, dtype=torch.int64)
    place = 0
    for number, (prompt, responses) in enumerate(
        zip(layout.prompts, layout.responses, strict=True)
    ):
        for piece, count in enumerate((prompt, *responses)):
            owners[place : place + count] = number
            pieces[place : place + count] = piece
            place += count
    owners, pieces = owners.to(device), pieces.to(device)

    def sees(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        del batch, head
        near = (pieces[key] == 0) | (pieces[key] == pieces[query])
        return (query >= key) & (owners[query] == owners[key]) & near

    return create_block_mask(sees, None, None, length, length, device=str(device))


def register_flex(*, compiled: bool = True) -> None:
    """Make it known to transformers and to the rows of jobs, in this process.

    Args:
        compiled: As it is on cards; as it is written it makes all scores at once.
    """
    attend = torch.compile(flex_attention, dynamic=True) if compiled else flex_attention
    AttentionInterface.register(FLEX, FlexAttention(attend))
    AttentionMaskInterface.register(FLEX, sdpa_mask)
    BACKENDS[FLEX] = BACKENDS[SHARED_PREFIX_SDPA]
