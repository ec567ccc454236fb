"""Rows of token ids, positions and places for groups of responses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mmrlhf_jobs.attention.layout import RowLayout
from mmrlhf_jobs.models.adapter import EncodedGroup

__all__ = ["PackedRows", "pack"]

Positions = Callable[[EncodedGroup], Tensor]


@dataclass(frozen=True)
class PackedRows:
    """Tokens of several groups, laid out in rows, or in one without padding.

    Attributes:
        input_ids: ``[rows, L]`` int64, padded on the right; ``[1, T]`` if packed.
        position_ids: ``[A, rows, L]`` int64; responses go on where their prompt ends.
        layout: Where prompts and responses are.
        copies: Times that a group's prompt is there: 1 if it is shared, else once a response.
        sources: ``[T]`` flat indices into ``rows * L``: the hidden state that predicts each
            predicted token. The first token of a response is predicted at the end of the prompt.
        targets: ``[T]`` ids of the predicted tokens of all responses, in order.
        lengths: ``[N]`` number of predicted tokens of each response; they sum to T.
        ends: ``[N]`` flat indices of the last token of each response.
        real_tokens: Tokens in the rows without padding.
    """

    input_ids: Tensor
    position_ids: Tensor
    layout: RowLayout
    copies: tuple[int, ...]
    sources: Tensor
    targets: Tensor
    lengths: Tensor
    ends: Tensor
    real_tokens: int


def pack(
    groups: Sequence[EncodedGroup],
    positions: Positions,
    *,
    shared_prefix: bool,
    one_row: bool = False,
    padding_id: int = 0,
) -> PackedRows:
    """Lay out groups in rows, one per group or one per response, or all in one.

    Args:
        groups: Encoded groups, at least one; every group has at least one response.
        positions: Positions of a group's prompt, ``[A, P]``.
        shared_prefix: One row ``[prompt | r1 | r2 | ...]`` per group instead of one
            ``[prompt | r]`` per response.
        one_row: All those rows one after the other, as one.
        padding_id: Token id of the padding; it influences nothing.
    """
    prompts: list[int] = []
    members: list[tuple[int, ...]] = []
    ids: list[Tensor] = []
    places: list[Tensor] = []
    for group in groups:
        prompt_places = positions(group)
        # Multimodal rotary positions end before the number of tokens: go on after the largest.
        begin = int(prompt_places.max()) + 1
        alone = [(response,) for response in group.responses]
        rows = [group.responses] if shared_prefix else alone
        for row in rows:
            prompts.append(len(group.prompt_ids))
            members.append(tuple(len(response) for response in row))
            ids.append(torch.cat([group.prompt_ids, *row]))
            own = [torch.arange(begin, begin + len(r)).expand(len(prompt_places), -1) for r in row]
            places.append(torch.cat([prompt_places, *own], dim=1))
    real_tokens = sum(map(len, ids))
    predicted = [count for group in groups for count in group.predicted]
    flat = [response for group in groups for response in group.responses]
    layout = RowLayout(
        prompts=tuple(prompts),
        responses=tuple(members),
        length=real_tokens if one_row else max(map(len, ids)),
        packed=one_row,
    )
    input_ids = torch.full(layout.shape, padding_id, dtype=torch.int64)
    position_ids = torch.zeros(len(places[0]), *layout.shape, dtype=torch.int64)
    flat_ids, flat_places = input_ids.view(-1), position_ids.view(len(position_ids), -1)
    for start, row_ids, row_places in zip(layout.starts, ids, places, strict=True):
        flat_ids[start : start + len(row_ids)] = row_ids
        flat_places[:, start : start + len(row_ids)] = row_places
    sources, ends = _places(layout, predicted)
    return PackedRows(
        input_ids=input_ids,
        position_ids=position_ids,
        layout=layout,
        copies=tuple(1 if shared_prefix else len(group.responses) for group in groups),
        sources=sources,
        targets=torch.cat(
            [one[len(one) - count :] for one, count in zip(flat, predicted, strict=True)]
        ),
        lengths=torch.tensor(predicted),
        ends=ends,
        real_tokens=real_tokens,
    )


def _places(layout: RowLayout, predicted: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Where tokens are predicted, and where responses end."""
    pieces, ends = [], []
    counts = iter(predicted)
    for start, prompt, responses in zip(
        layout.starts, layout.prompts, layout.responses, strict=True
    ):
        place = start + prompt
        for length in responses:
            before = torch.arange(place - 1, place + length - 1)
            before[0] = start + prompt - 1
            pieces.append(before[length - next(counts) :])
            place += length
            ends.append(place - 1)
    return torch.cat(pieces), torch.tensor(ends)
