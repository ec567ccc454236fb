"""Rows, positions and places, checked by hand."""

from __future__ import annotations

import torch
from torch import Tensor

from mmrlhf_jobs.attention.layout import RowLayout
from mmrlhf_jobs.attention.parts import PackedParts
from mmrlhf_jobs.forward.packing import pack
from mmrlhf_jobs.models import EncodedGroup


def group(prompt: list[int], *responses: list[int]) -> EncodedGroup:
    return EncodedGroup(torch.tensor(prompt), tuple(torch.tensor(r) for r in responses), {})


def plain(encoded: EncodedGroup) -> Tensor:
    return torch.arange(len(encoded.prompt_ids))[None]


GROUPS = [group([1, 2, 3], [4, 5], [6]), group([7, 8], [9, 10, 11])]


def test_shared_rows() -> None:
    rows = pack(GROUPS, plain, shared_prefix=True)
    assert rows.input_ids.tolist() == [[1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11, 0]]
    assert rows.position_ids.tolist() == [[[0, 1, 2, 3, 4, 3], [0, 1, 2, 3, 4, 0]]]
    # Each token is predicted one place before it, the first of a response at the prompt's end.
    assert rows.sources.tolist() == [2, 3, 2, 6 + 1, 6 + 2, 6 + 3]
    assert rows.targets.tolist() == [4, 5, 6, 9, 10, 11]
    assert rows.lengths.tolist() == [2, 1, 3]
    assert rows.copies == (1, 1)
    assert rows.real_tokens == 6 + 5


def test_one_row_of_all_queries() -> None:
    rows = pack(GROUPS, plain, shared_prefix=True, one_row=True)
    assert rows.input_ids.tolist() == [[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]]
    assert rows.position_ids.tolist() == [[[0, 1, 2, 3, 4, 3, 0, 1, 2, 3, 4]]]
    assert rows.sources.tolist() == [2, 3, 2, 7, 8, 9]
    assert rows.targets.tolist() == [4, 5, 6, 9, 10, 11]
    assert rows.ends.tolist() == [4, 5, 10]
    assert rows.copies == (1, 1)
    assert rows.real_tokens == rows.input_ids.numel() == 6 + 5


def test_parts_of_one_row() -> None:
    layout = pack(GROUPS, plain, shared_prefix=True, one_row=True).layout
    parts = PackedParts.of(layout, torch.device("cpu"))
    assert parts.own.lengths == (3, 2, 1, 2, 3)
    assert parts.own.ends.tolist() == [0, 3, 5, 6, 8, 11]
    assert parts.prompts.ends.tolist() == [0, 3, 5]
    assert parts.answers.ends.tolist() == [0, 3, 6]
    assert parts.own.longest == 3
    assert parts.prompt_places.tolist() == [0, 1, 2, 6, 7]
    assert parts.answer_places.tolist() == [3, 4, 5, 8, 9, 10]


def test_separate_rows() -> None:
    rows = pack(GROUPS, plain, shared_prefix=False)
    assert rows.input_ids.tolist() == [[1, 2, 3, 4, 5], [1, 2, 3, 6, 0], [7, 8, 9, 10, 11]]
    assert rows.sources.tolist() == [2, 3, 5 + 2, 10 + 1, 10 + 2, 10 + 3]
    assert rows.targets.tolist() == [4, 5, 6, 9, 10, 11]
    assert rows.copies == (2, 1)
    assert rows.real_tokens == 5 + 4 + 5


def test_multimodal_positions_go_on_after_the_largest() -> None:
    # Three axes; an image of 2 x 2 places shares one time step.
    def axes(encoded: EncodedGroup) -> Tensor:
        return torch.tensor([[0, 1, 1, 1, 1, 3], [0, 1, 1, 2, 2, 3], [0, 1, 2, 1, 2, 3]])

    rows = pack([group([1, 2, 2, 2, 2, 3], [4, 5], [6])], axes, shared_prefix=True)
    assert rows.position_ids[:, 0, 6:].tolist() == [[4, 5, 4]] * 3


def test_masks() -> None:
    layout = RowLayout(prompts=(2,), responses=((2, 1),), length=6)
    assert layout.full_mask()[0, 0].int().tolist() == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [1, 1, 0, 0, 1, 0],
        [1, 1, 1, 1, 1, 1],  # padding: anything but nothing
    ]
