"""Text written token by token, from one cache: answers, samples and critiques alike.

The prompt of a group goes through the decoder once; its cache is handed to all its responses and
samples. Positions are those of the model's family, in the prompt and after it. Rows leave the
batch as soon as they are done.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, LogitsProcessorList, PreTrainedModel
from transformers.cache_utils import LinearAttentionCacheLayerMixin

from mmrlhf_jobs.forward.choices import Choose
from mmrlhf_jobs.models.adapter import DecoderInputs, EncodedGroup, LoadedModel, VLMAdapter
from mmrlhf_jobs.models.logit_shape import LogitShape
from mmrlhf_jobs.models.shares import Splitter

__all__ = ["Answer", "Decoding", "end_tokens", "write_answers"]


@dataclass(frozen=True)
class Answer:
    """An answer of a model.

    Attributes:
        tokens: Its ids, int64, with the one that ended it.
        ended: Whether one did; else it was cut off at the largest length.
    """

    tokens: Tensor
    ended: bool


def end_tokens(loaded: LoadedModel) -> list[int]:
    """Ids that end an answer: those of the model's generation settings, else the tokenizer's."""
    ends = loaded.model.generation_config.eos_token_id
    ends = loaded.processor.tokenizer.eos_token_id if ends is None else ends
    return list(ends) if isinstance(ends, list) else [ends]


@torch.no_grad()
def write_answers(
    model: PreTrainedModel,
    adapter: VLMAdapter,
    prompts: Sequence[EncodedGroup],
    *,
    choose: Choose,
    ends: Collection[int],
    max_new_tokens: int,
    samples: int = 1,
) -> list[Answer]:
    """Answer queries.

    What the model's generation settings say of tokens (penalties of repetition, suppressed ones)
    holds for the tokens that are written, as in transformers' ``generate`` from embeddings.

    Args:
        model: The model, in any mode.
        adapter: Adapter of its family.
        prompts: Encoded queries; their responses are not looked at.
        choose: Picks the next tokens.
        ends: Tokens that end an answer.
        max_new_tokens: Tokens after which an answer is cut off.
        samples: Answers of each query.

    Returns:
        For each prompt each of its samples.
    """
    training = model.training
    model.eval()
    try:
        bare = [EncodedGroup(one.prompt_ids, (), one.media_inputs) for one in prompts]
        decoding = Decoding(model, adapter, bare, samples)
        rules = _token_rules(model, ends)
        written: list[list[int]] = [[] for _ in decoding.rows]
        ended = [False] * len(written)
        hidden = decoding.read_prompts()
        for length in range(max_new_tokens):
            so_far = torch.tensor([written[row] for row in decoding.rows], dtype=torch.int64)
            logits = rules(so_far.to(hidden.device), decoding.logits(hidden).float())
            chosen = choose(logits, decoding.rows, length).tolist()
            for row, token in zip(decoding.rows, chosen, strict=True):
                written[row].append(token)
                ended[row] = token in ends
            going = [place for place, row in enumerate(decoding.rows) if not ended[row]]
            if not going or length + 1 == max_new_tokens:
                break
            if len(going) < len(decoding.rows):
                decoding.keep(going)
            hidden = decoding.read_tokens([chosen[place] for place in going])
    finally:
        model.train(training)
    return [
        Answer(torch.tensor(ids, dtype=torch.int64), whole)
        for ids, whole in zip(written, ended, strict=True)
    ]


class Decoding:
    """Cache, mask and positions of the rows that are still written.

    There is a row for each sample of each response of each group; groups without responses have
    one for each sample. All groups have responses, or none.

    Args:
        model: The model.
        adapter: Adapter of its family.
        groups: Prompts, with what of the responses is read and not written.
        samples: Rows of each.
        splitter: Divides the model over processes, each of which writes rows of its own: they must
            make as many passes. None: this process has all of it.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        adapter: VLMAdapter,
        groups: Sequence[EncodedGroup],
        samples: int = 1,
        splitter: Splitter | None = None,
    ) -> None:
        self._splitter = splitter
        self._model = model
        self._adapter = adapter
        self._decoder = adapter.decoder(model)
        self._device = next(model.parameters()).device
        self._pad = int(getattr(adapter.chat.tokenizer, "pad_token_id", None) or 0)
        self._groups = groups
        self._responses = [
            response for group in groups for response in group.responses for _ in range(samples)
        ]
        self._owners = [
            index
            for index, group in enumerate(groups)
            for _ in range(max(len(group.responses), 1) * samples)
        ]
        self._cache = DynamicCache(config=self._decoder.config)
        self.rows = list(range(len(self._owners)))
        self.tokens_forwarded = 0

    def read_prompts(self) -> Tensor:
        """Read prompts once each; hidden states ``[N, H]`` at their ends, one for each row."""
        prompts = [group.prompt_ids for group in self._groups]
        ids, self._mask = self._pad_left(prompts)
        places = [self._adapter.prompt_positions(group) for group in self._groups]
        positions = torch.zeros(len(places[0]), *ids.shape, dtype=torch.int64)
        for row, own in enumerate(places):
            positions[:, row, ids.shape[1] - own.shape[1] :] = own
        inputs = self._adapter.embed(
            self._model,
            ids.to(self._device),
            positions.to(self._device),
            self._groups,
            [1] * len(prompts),
            every_part=self._splitter is not None,
        )
        hidden = self._step(inputs)[:, -1]
        owners = torch.tensor(self._owners)
        self._cache.reorder_cache(owners.to(self._device))
        self._mask = self._mask[owners]
        # Multimodal rotary positions end before the number of tokens: go on after the largest.
        ends = torch.tensor([int(own.max()) + 1 for own in places])[owners]
        self._next = ends.expand(len(places[0]), -1)
        return hidden[owners.to(self._device)]

    def read_responses(self) -> Tensor:
        """Read what there is of the responses; hidden states ``[N, H]`` at their ends."""
        if any(self._cache.is_linear):
            return self._read_in_stages()
        ids, used = self._pad_left(self._responses)
        offsets = (used.cumsum(1) - 1).clamp(min=0)
        positions = self._next[:, :, None] + offsets
        self._mask = torch.cat([self._mask, used], dim=1)
        self._next = positions[:, :, -1] + 1
        return self._read(ids, positions)

    def _read_in_stages(self) -> Tensor:
        """As `read_responses`, where padding between prompt and response would change a state.

        The shortest are read to their end, then the next shortest to theirs, and so on. Those that
        have ended are read on as padding, and their states are put back.
        """
        lengths = torch.tensor([len(response) for response in self._responses])
        ends: list[Tensor] = [torch.empty(0)] * len(lengths)
        for begin, end in pairwise(sorted({0, *lengths.tolist()})):
            going = lengths > begin
            ids = torch.full((len(lengths), end - begin), self._pad, dtype=torch.int64)
            for row in going.nonzero().flatten().tolist():
                ids[row] = self._responses[row][begin:end]
            self._mask = torch.cat([self._mask, going[:, None].expand_as(ids).long()], dim=1)
            steps = torch.arange(end - begin)
            with _kept_states(self._cache, (~going).to(self._device)):
                hidden = self._read(ids, self._next[:, :, None] + steps)
            for row in (lengths == end).nonzero().flatten().tolist():
                ends[row] = hidden[row]
            self._next = self._next + (end - begin) * going
        return torch.stack(ends)

    def read_tokens(self, tokens: Sequence[int]) -> Tensor:
        """Read one more token of every row; hidden states ``[B, H]``."""
        ids = torch.tensor(tokens)[:, None]
        self._mask = torch.cat([self._mask, torch.ones_like(ids)], dim=1)
        hidden = self._read(ids, self._next[:, :, None])
        self._next = self._next + 1
        return hidden

    def accompany(self) -> None:
        """Make passes for as long as other processes write, which need this one's weights.

        What they read is a token that nobody asked for, in one of the rows that are still there.
        """
        if self._splitter is None:
            return
        self.keep([0])
        spare = torch.full((1, 1), self._pad)
        while self._splitter.any(False):
            self._mask = torch.cat([self._mask, torch.ones_like(spare)], dim=1)
            self._step(self._embed(spare, self._next[:, :, None]))

    def keep(self, places: Sequence[int]) -> None:
        """Drop all other rows."""
        self.rows = [self.rows[place] for place in places]
        chosen = torch.tensor(places, dtype=torch.int64)
        self._mask, self._next = self._mask[chosen], self._next[:, chosen]
        self._cache.reorder_cache(chosen.to(self._device))

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits ``[B, V]`` after hidden states ``[B, H]``."""
        values: Tensor = self._adapter.output_layer(self._model)(hidden)
        config: Any = self._decoder.config
        return LogitShape.of(config).bend(values)

    def _read(self, ids: Tensor, positions: Tensor) -> Tensor:
        """Read on in every row; hidden states ``[B, H]`` at the ends."""
        if self._splitter is not None:
            self._splitter.any(True)
        return self._step(self._embed(ids, positions))[:, -1]

    def _step(self, inputs: DecoderInputs) -> Tensor:
        length = inputs.inputs_embeds.shape[1]
        self.tokens_forwarded += int(self._mask[:, -length:].sum())
        output = self._decoder(
            **inputs.keywords(),
            attention_mask=self._adapter.attention_mask(
                self._model, inputs, self._mask.to(self._device), self._cache
            ),
            past_key_values=self._cache,
            use_cache=True,
        )
        hidden: Tensor = output.last_hidden_state
        return hidden

    def _embed(self, ids: Tensor, positions: Tensor) -> DecoderInputs:
        return self._adapter.embed_text(
            self._model, ids.to(self._device), positions.to(self._device)
        )

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


@contextmanager
def _kept_states(cache: DynamicCache, rows: Tensor) -> Iterator[None]:
    """Put the states of some rows, ``[B]`` True, back at the end."""
    layers = [one for one in cache.layers if isinstance(one, LinearAttentionCacheLayerMixin)]
    held = [states for one in layers for states in (one.conv_states, one.recurrent_states)]
    before = [
        {key: state[rows] for key, state in states.items() if state is not None} for states in held
    ]
    yield
    for states, own in zip(held, before, strict=True):
        for key, state in own.items():
            states[key][rows] = state


def _token_rules(model: PreTrainedModel, ends: Collection[int]) -> LogitsProcessorList:
    """What the generation settings of a model say of tokens, drawing left out."""
    settings = copy.deepcopy(model.generation_config)
    settings.update(do_sample=False, eos_token_id=list(ends))
    # transformers has no public name for either.
    model._prepare_special_tokens(settings, kwargs_has_attention_mask=True, device=model.device)  # noqa: SLF001
    rules: LogitsProcessorList = model._get_logits_processor(  # noqa: SLF001
        settings, input_ids_seq_length=0, device=str(model.device)
    )
    return rules
