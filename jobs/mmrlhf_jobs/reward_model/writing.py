"""Writing of critiques, and the scores after them, from one cache (paper 3.2, Inference).

The prompt of a query (media, instruction, question) goes through the decoder once; its cache is
handed to all its responses and to all samples of their critiques. When a critique ends, its
terminal token takes one more step in the same cache, and the score is read there: nothing is read
twice.
Rows leave the batch as soon as they are done.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache

from mmrlhf_jobs.models.adapter import EncodedGroup
from mmrlhf_jobs.reward_model.scorer import RewardScorer

__all__ = ["Choose", "Writing", "choose_likeliest", "choose_sampled", "write_critiques"]

Choose = Callable[[Tensor, Sequence[int], int], Tensor]
"""Picks the next token of every row: logits ``[B, V]``, the rows' numbers, and how many tokens they
have so far -> ids ``[B]``."""


@dataclass(frozen=True)
class Writing:
    """Critiques of N rows: for each response of each group, each of its samples.

    Attributes:
        tokens: Per row the ids of the critique, without the terminal token.
        scores: ``[N]`` score after the critique, float64, on the CPU.
        cut: Rows whose critique was ended at the largest length.
        tokens_forwarded: Tokens that went through the decoder, padding left out.
    """

    tokens: tuple[Tensor, ...]
    scores: Tensor
    cut: tuple[bool, ...]
    tokens_forwarded: int


def choose_likeliest(logits: Tensor, rows: Sequence[int], length: int) -> Tensor:
    """Greedy decoding."""
    del rows, length
    return logits.argmax(-1)


def choose_sampled(seeds: Sequence[int], *, temperature: float) -> Choose:
    """Sampling from ``softmax(logits / temperature)``.

    A row's text depends on its own seed alone, not on what else is in the batch.

    Args:
        seeds: Seed of each row.
        temperature: Above 0.
    """
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def choose(logits: Tensor, rows: Sequence[int], length: int) -> Tensor:
        del length
        uniforms = [torch.rand(1, generator=generators[row], dtype=torch.float64) for row in rows]
        cumulative = torch.softmax(logits.double() / temperature, -1).cumsum(-1)
        # The last sum is 1 up to rounding; a draw beyond it would be no token.
        draws = torch.stack(uniforms).to(logits.device) * cumulative[:, -1:]
        return torch.searchsorted(cumulative, draws, right=True)[:, 0].clamp(
            max=logits.shape[-1] - 1
        )

    return choose


@torch.no_grad()
def write_critiques(
    scorer: RewardScorer,
    groups: Sequence[EncodedGroup],
    *,
    choose: Choose,
    limits: Sequence[int],
    samples: int = 1,
) -> Writing:
    """Write critiques of all responses of several queries, and score the responses after them.

    Args:
        scorer: Backbone and head.
        groups: What `CritiqueTemplate.open` made, each with at least one response.
        choose: Picks the next tokens.
        limits: Per response of all groups the most tokens of its critique.
        samples: Critiques of each response.
    """
    decoding = _Decoding(scorer, groups, samples)
    count = len(decoding.rows)
    most = [limit for limit in limits for _ in range(samples)]
    written: list[list[int]] = [[] for _ in range(count)]
    cut = [False] * count
    scores = torch.zeros(count, dtype=torch.float64)
    terminal = scorer.adapter.chat.terminal_id
    hidden = decoding.read_responses()
    length = 0
    while decoding.rows:
        chosen = choose(decoding.logits(hidden), decoding.rows, length).tolist()
        for place, row in enumerate(decoding.rows):
            if chosen[place] != terminal and length >= most[row]:
                chosen[place], cut[row] = terminal, True
        hidden = decoding.read_tokens(chosen)
        ended = [place for place, token in enumerate(chosen) if token == terminal]
        if ended:
            after = scorer.reward_head(hidden[ended]).double().cpu()
            scores[[decoding.rows[place] for place in ended]] = after
        going = [place for place, token in enumerate(chosen) if token != terminal]
        for place in going:
            written[decoding.rows[place]].append(chosen[place])
        if ended:
            decoding.keep(going)
            hidden = hidden[going]
        length += 1
    return Writing(
        tokens=tuple(torch.tensor(ids, dtype=torch.int64) for ids in written),
        scores=scores,
        cut=tuple(cut),
        tokens_forwarded=decoding.tokens_forwarded,
    )


class _Decoding:
    """Cache, mask and positions of the rows that are still written."""

    def __init__(self, scorer: RewardScorer, groups: Sequence[EncodedGroup], samples: int) -> None:
        self._model = scorer.model
        self._adapter = scorer.adapter
        self._decoder = scorer.adapter.decoder(scorer.model)
        self._device = next(scorer.model.parameters()).device
        self._pad = int(getattr(scorer.adapter.chat.tokenizer, "pad_token_id", None) or 0)
        self._groups = groups
        self._responses = [
            response for group in groups for response in group.responses for _ in range(samples)
        ]
        self._owners = [
            index
            for index, group in enumerate(groups)
            for _ in range(len(group.responses) * samples)
        ]
        self._cache = DynamicCache(config=self._decoder.config)
        self.rows = list(range(len(self._responses)))
        self.tokens_forwarded = 0

    def read_responses(self) -> Tensor:
        """Read prompts once each, then all responses; hidden states ``[N, H]`` at their ends."""
        prompts = [group.prompt_ids for group in self._groups]
        ids, mask = self._pad_left(prompts)
        places = [self._adapter.prompt_positions(group) for group in self._groups]
        positions = torch.zeros(len(places[0]), *ids.shape, dtype=torch.int64)
        for row, own in enumerate(places):
            positions[:, row, ids.shape[1] - own.shape[1] :] = own
        embeds = self._adapter.embed(
            self._model, ids.to(self._device), self._groups, [1] * len(prompts)
        )
        self._mask = mask
        self._step(embeds, positions)
        owners = torch.tensor(self._owners)
        self._cache.batch_select_indices(owners.to(self._device))
        self._mask = mask[owners]
        # Multimodal rotary positions end before the number of tokens: go on after the largest.
        next_places = torch.tensor([int(own.max()) + 1 for own in places])[owners]
        ids, used = self._pad_left(self._responses)
        offsets = (used.cumsum(1) - 1).clamp(min=0)
        positions = (next_places[:, None] + offsets).expand(len(places[0]), -1, -1)
        self._mask = torch.cat([self._mask, used], dim=1)
        self._next = positions[:, :, -1] + 1
        return self._step(self._embed(ids), positions)[:, -1]

    def read_tokens(self, tokens: Sequence[int]) -> Tensor:
        """Read one more token of every row; hidden states ``[B, H]``."""
        ids = torch.tensor(tokens)[:, None]
        self._mask = torch.cat([self._mask, torch.ones_like(ids)], dim=1)
        hidden = self._step(self._embed(ids), self._next[:, :, None])[:, -1]
        self._next = self._next + 1
        return hidden

    def keep(self, places: Sequence[int]) -> None:
        """Drop all other rows."""
        self.rows = [self.rows[place] for place in places]
        chosen = torch.tensor(places, dtype=torch.int64)
        self._mask, self._next = self._mask[chosen], self._next[:, chosen]
        self._cache.batch_select_indices(chosen.to(self._device))

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits ``[B, V]`` after hidden states ``[B, H]``."""
        layer = self._adapter.output_layer(self._model)
        values: Tensor = layer(hidden)
        return values

    def _step(self, embeds: Tensor, positions: Tensor) -> Tensor:
        length = embeds.shape[1]
        self.tokens_forwarded += int(self._mask[:, -length:].sum())
        places = positions.to(self._device)
        output = self._decoder(
            inputs_embeds=embeds,
            attention_mask=self._mask.to(self._device),
            position_ids=places[0] if len(places) == 1 else places,
            past_key_values=self._cache,
            use_cache=True,
        )
        hidden: Tensor = output.last_hidden_state
        return hidden

    def _embed(self, ids: Tensor) -> Tensor:
        embeds: Tensor = self._model.get_input_embeddings()(ids.to(self._device))
        return embeds

    def _pad_left(self, sequences: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Ids and mask ``[rows, L]`` that end with the last token of every row."""
        length = max(map(len, sequences))
        ids = torch.full((len(sequences), length), self._pad, dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for row, sequence in enumerate(sequences):
            if len(sequence):
                ids[row, -len(sequence) :] = sequence
                mask[row, -len(sequence) :] = 1
        return ids, mask
