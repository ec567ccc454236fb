"""Where prompts and responses stand in a packed row, as kernels for parts of any length ask."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate
from typing import Self

import torch
from torch import Tensor

from mmrlhf_jobs.attention.forms import Choice, Form
from mmrlhf_jobs.attention.layout import RowLayout

__all__ = ["PackedParts", "Spans"]


@dataclass(frozen=True)
class Spans:
    """Parts that stand one after the other.

    Attributes:
        lengths: Tokens of each, at least 1.
        ends: ``[parts + 1]`` int32, places where they begin and end, on the device of the model.
    """

    lengths: tuple[int, ...]
    ends: Tensor

    @classmethod
    def of(cls, lengths: tuple[int, ...], device: torch.device) -> Self:
        """Spans of these lengths."""
        ends = torch.tensor([*accumulate(lengths, initial=0)], dtype=torch.int32, device=device)
        return cls(lengths, ends)

    @property
    def longest(self) -> int:
        """Tokens of the longest."""
        return max(self.lengths)


@dataclass(frozen=True)
class PackedParts:
    """The parts of one row ``[prompt A | r1 | r2 | ... | prompt B | r1 | ...]``.

    Made once a forward pass and used by every layer.

    Attributes:
        layout: The row.
        own: Every prompt and every response, in order of place: each sees itself.
        prompts: The prompts alone.
        answers: Per prompt its responses together: each sees the prompt.
        prompt_places: ``[sum of prompts]`` int64, places of the prompts' tokens in the row.
        answer_places: ``[sum of responses]`` int64, places of all others.
        taken: Forms that layers took for it, and why; noted by them.
    """

    layout: RowLayout
    own: Spans
    prompts: Spans
    answers: Spans
    prompt_places: Tensor
    answer_places: Tensor
    taken: dict[Form, str] = field(default_factory=dict, compare=False)

    def note(self, choice: Choice) -> None:
        """Keep what a layer takes."""
        self.taken.setdefault(choice.form, choice.reason)

    @classmethod
    def of(cls, layout: RowLayout, device: torch.device) -> Self:
        """Find the parts of a packed row."""
        assert layout.packed
        answers = tuple(sum(own) for own in layout.responses)
        own = [
            length
            for prompt, responses in zip(layout.prompts, layout.responses, strict=True)
            for length in (prompt, *responses)
        ]
        prompt_places, answer_places = [], []
        for start, prompt, answer in zip(layout.starts, layout.prompts, answers, strict=True):
            prompt_places.append(torch.arange(start, start + prompt))
            answer_places.append(torch.arange(start + prompt, start + prompt + answer))
        return cls(
            layout=layout,
            own=Spans.of(tuple(own), device),
            prompts=Spans.of(layout.prompts, device),
            answers=Spans.of(answers, device),
            prompt_places=torch.cat(prompt_places).to(device),
            answer_places=torch.cat(answer_places).to(device),
        )
