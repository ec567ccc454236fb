"""Rows ``[prompt | response 1 | response 2 | ...]``: where their parts are, and who sees whom."""

from __future__ import annotations

from dataclasses import dataclass

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
    """

    prompts: tuple[int, ...]
    responses: tuple[tuple[int, ...], ...]
    length: int

    @property
    def used(self) -> tuple[int, ...]:
        """Per row the number of tokens that are not padding."""
        return tuple(p + sum(r) for p, r in zip(self.prompts, self.responses, strict=True))

    def response_mask(self) -> Tensor:
        """Mask ``[1, 1, R, P + R]`` for the largest P and R of the rows; True attends.

        A response of ``r`` tokens after a prompt of ``p`` takes ``[:, :, :r, P - p : P + r]``:
        token ``i`` attends to the prompt and to the response up to itself.
        """
        prompt = max(self.prompts)
        response = max(map(max, self.responses))
        return torch.ones(1, 1, response, prompt + response, dtype=torch.bool).tril(prompt)

    def full_mask(self) -> Tensor:
        """Mask ``[rows, 1, length, length]`` of all tokens; True attends."""
        mask = torch.ones(self.length, self.length, dtype=torch.bool).tril()
        mask = mask.repeat(len(self.prompts), 1, 1, 1)
        for row, (prompt, responses) in enumerate(zip(self.prompts, self.responses, strict=True)):
            start = prompt
            for count in responses:
                mask[row, 0, start : start + count, prompt:start] = False
                start += count
        return mask
