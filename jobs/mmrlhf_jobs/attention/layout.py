"""Rows ``[prompt | response 1 | response 2 | ...]``: where their parts are, and who sees whom."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

__all__ = ["RowLayout"]


@dataclass(frozen=True)
class RowLayout:
    """Where the parts of every row are.

    Attributes:
        prompts: Per row the number of prompt tokens.
        responses: Per row the lengths of its responses, in order of place.
        length: Length of the rows, padding included.
        packed: All stand one after the other in one row of that length, without padding.
    """

    prompts: tuple[int, ...]
    responses: tuple[tuple[int, ...], ...]
    length: int
    packed: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """Rows of the tensors, and their length."""
        return (1 if self.packed else len(self.prompts), self.length)

    @property
    def starts(self) -> tuple[int, ...]:
        """Per row the place of its first token, among all tokens of all rows."""
        if self.packed:
            return tuple(accumulate(self.used, initial=0))[:-1]
        return tuple(range(0, len(self.prompts) * self.length, self.length))

    @property
    def used(self) -> tuple[int, ...]:
        """Per row the number of tokens that are not padding."""
        return tuple(p + sum(r) for p, r in zip(self.prompts, self.responses, strict=True))

    def full_mask(self) -> Tensor:
        """Mask ``[rows, 1, length, length]`` of all tokens; True attends. Not of packed rows."""
        assert not self.packed
        mask = torch.ones(self.length, self.length, dtype=torch.bool).tril()
        mask = mask.repeat(len(self.prompts), 1, 1, 1)
        for row, (prompt, responses) in enumerate(zip(self.prompts, self.responses, strict=True)):
            start = prompt
            for count in responses:
                mask[row, 0, start : start + count, prompt:start] = False
                start += count
        return mask
