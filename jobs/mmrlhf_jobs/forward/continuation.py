"""Layers that keep a state, such as gated delta rules and short convolutions, in shared rows.

Positions and masks cannot tell such a layer that a response begins where its prompt ended, and not
where the response before it did: what it knows of the tokens before is a state that it carries
along. So it runs twice in a pass: over all prompts, from nothing, and over all responses, each from
the state at the end of its prompt. The layer is transformers' own; it is given an object in the
place of a cache, which hands it the state and, other than a cache, keeps the graph: gradients of
the responses of a query add up in its prompt.

It runs twice whatever the numbers of queries and responses are, so that processes which gather
split weights do the same.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from types import MethodType
from typing import Final, Self

import torch
from torch import Tensor, nn

from mmrlhf_jobs.attention.layout import RowLayout

__all__ = ["StateParts", "continue_layers"]

_CACHES: Final = ("cache_params", "past_key_values")
"""What a layer of transformers may call its cache."""
_SHORTEST: Final = 2
"""Tokens of a response, padding included: for one, layers take the kernels of generation, which
write into the state and have no gradients."""


@dataclass(frozen=True)
class StateParts:
    """Prompts and responses of shared rows as rows of their own; made once a forward pass.

    Attributes:
        prompts: ``[G, P]`` int64, places of the prompts' tokens among all of the rows, filled up on
            the left.
        filled: ``[G, 1, P]``, True where one is filled up.
        responses: ``[N, R]`` int64, the same of the responses, filled up on the right.
        counts: Responses of each prompt; they sum to N.
        places: ``[rows * L]`` int64: where the result for each token of the rows is among those of
            the prompts and then of the responses; anywhere for padding.
    """

    prompts: Tensor
    filled: Tensor
    responses: Tensor
    counts: tuple[int, ...]
    places: Tensor

    @classmethod
    def of(cls, layout: RowLayout, device: torch.device) -> Self:
        """Find the parts of rows."""
        prompts, responses = [], []
        for start, prompt, lengths in zip(
            layout.starts, layout.prompts, layout.responses, strict=True
        ):
            own = torch.arange(start, start + prompt + sum(lengths)).split([prompt, *lengths])
            prompts.append(own[0])
            responses.extend(own[1:])
        longest = max(map(len, prompts))
        before, filled = _fill(prompts, longest, left=True)
        after, spare = _fill(responses, max(_SHORTEST, *map(len, responses)), left=False)
        rows, length = layout.shape
        places = torch.zeros(rows * length, dtype=torch.int64)
        joined = torch.cat([before.flatten(), after.flatten()])
        real = ~torch.cat([filled.flatten(), spare.flatten()])
        places[joined[real]] = torch.arange(len(joined))[real]
        return cls(
            prompts=before.to(device),
            filled=filled[:, None].to(device),
            responses=after.to(device),
            counts=tuple(map(len, layout.responses)),
            places=places.to(device),
        )


class _State:
    """What a layer asks its cache for, with the graph kept.

    Args:
        filled: ``[B, 1, L]``, True at padding before the tokens; None if there is none.
        columns: ``[B, C, K]``, what a convolution read last before the tokens.
        recurrent: What the layer carries along, ``[B, ...]``.
    """

    def __init__(
        self,
        filled: Tensor | None = None,
        columns: Tensor | None = None,
        recurrent: Tensor | None = None,
    ) -> None:
        self._filled = filled
        self._columns = columns
        self._recurrent = recurrent

    def after(self, counts: Sequence[int]) -> Self:
        """The same for rows that go on from it, some for each."""
        columns, recurrent = (
            None if one is None else _hand_on(one, counts)
            for one in (self._columns, self._recurrent)
        )
        return type(self)(columns=columns, recurrent=recurrent)

    # As transformers' own caches call them.

    def get_conv_state(self, layer_idx: int, state_idx: int = 0) -> Tensor | None:
        """What a convolution read last."""
        del layer_idx, state_idx
        return self._columns

    def get_recurrent_state(self, layer_idx: int, state_idx: int = 0) -> Tensor | None:
        """What is carried along."""
        del layer_idx, state_idx
        return self._recurrent

    def is_recording_past(self, layer_idx: int) -> bool:
        """True: nothing may be written into a state in place."""
        del layer_idx
        return True

    def update_conv_state(
        self, conv_states: Tensor, layer_idx: int, *, conv_kernel_size: int, state_idx: int = 0
    ) -> Tensor:
        """Columns that a convolution reads, those before the tokens included."""
        del layer_idx, state_idx
        if self._filled is not None:
            # Before the first token there is nothing, also where a projection has a bias.
            conv_states = conv_states.masked_fill(self._filled, 0.0)
        if self._columns is not None:
            conv_states = torch.cat([self._columns, conv_states], dim=-1)
        self._columns = conv_states[..., max(conv_states.shape[-1] - conv_kernel_size + 1, 0) :]
        return conv_states

    def update_recurrent_state(
        self, recurrent_states: Tensor, layer_idx: int, state_idx: int = 0
    ) -> Tensor:
        """Keep what is carried along."""
        del layer_idx, state_idx
        self._recurrent = recurrent_states
        return recurrent_states


def continue_layers(decoder: nn.Module, class_name: str) -> bool:
    """Let the layers of a class take ``state_parts``; without it they do what they did.

    Args:
        decoder: The language model; may have been here before.
        class_name: Class of the layers in transformers; empty if there are none.

    Returns:
        Whether there are any, and so the decoder must be given ``state_parts`` for shared rows.
    """
    layers = [module for module in decoder.modules() if type(module).__name__ == class_name]
    for layer in layers:
        # A bound method of the layer is copied with it.
        layer.forward = MethodType(_forward, layer)
    return bool(layers)


def _forward(
    layer: nn.Module,
    hidden_states: Tensor,
    *args: object,
    state_parts: StateParts | None = None,
    **kwargs: object,
) -> Tensor:
    """The layer's own pass, or two of them for shared rows ``[rows, L, H]``."""
    own = type(layer).forward
    if state_parts is None:
        found: Tensor = own(layer, hidden_states, *args, **kwargs)
        return found
    (cache,) = set(_CACHES) & set(inspect.signature(own).parameters)
    tokens = hidden_states.flatten(0, 1)
    state = _State(state_parts.filled)
    before = own(layer, tokens[state_parts.prompts], **{cache: state})
    state = state.after(state_parts.counts)
    after = own(layer, tokens[state_parts.responses], **{cache: state})
    joined = torch.cat([before.flatten(0, 1), after.flatten(0, 1)])
    return joined[state_parts.places].view_as(hidden_states)


def _hand_on(state: Tensor, counts: Sequence[int]) -> Tensor:
    """Each row of a state as often as it has responses; one alone is not copied."""
    rows = [
        one.expand(count, *one.shape[1:]) for one, count in zip(state.split(1), counts, strict=True)
    ]
    return rows[0] if len(rows) == 1 else torch.cat(rows)


def _fill(parts: Sequence[Tensor], length: int, *, left: bool) -> tuple[Tensor, Tensor]:
    """Places ``[len(parts), length]``, and where one is filled up, with the first place of all."""
    places = torch.zeros(len(parts), length, dtype=torch.int64)
    filled = torch.ones(len(parts), length, dtype=torch.bool)
    for row, part in enumerate(parts):
        own = slice(length - len(part), length) if left else slice(0, len(part))
        places[row, own] = part
        filled[row, own] = False
    return places, filled
