"""Writing of critiques, and the scores after them, from one cache (paper 3.2, Inference).

The prompt of a query (media, instruction, question) goes through the decoder once; its cache is
handed to all its responses and to all samples of their critiques. When a critique ends, its
terminal token takes one more step in the same cache, and the score is read there: nothing is read
twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mmrlhf_jobs.forward.choices import Choose
from mmrlhf_jobs.forward.decoding import Decoding
from mmrlhf_jobs.models.adapter import EncodedGroup
from mmrlhf_jobs.models.shares import Splitter, whole
from mmrlhf_jobs.reward_model.scorer import RewardScorer

__all__ = ["Writing", "write_critiques"]


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


@torch.no_grad()
def write_critiques(
    scorer: RewardScorer,
    groups: Sequence[EncodedGroup],
    *,
    choose: Choose,
    limits: Sequence[int],
    samples: int = 1,
    splitter: Splitter | None = None,
) -> Writing:
    """Write critiques of all responses of several queries, and score the responses after them.

    Args:
        scorer: Backbone and head.
        groups: What `CritiqueTemplate.open` made, each with at least one response.
        choose: Picks the next tokens.
        limits: Per response of all groups the most tokens of its critique.
        samples: Critiques of each response.
        splitter: Divides the model over processes, which all write, if anything does.
    """
    # What is read between passes, of which processes make different numbers, is whole meanwhile.
    layer = scorer.adapter.output_layer(scorer.model)
    with whole([*layer.parameters(), *scorer.reward_head.parameters()]):
        decoding = Decoding(scorer.model, scorer.adapter, groups, samples, splitter)
        writing = _write(scorer, decoding, choose=choose, limits=limits, samples=samples)
        decoding.accompany()
    return writing


def _write(
    scorer: RewardScorer,
    decoding: Decoding,
    *,
    choose: Choose,
    limits: Sequence[int],
    samples: int,
) -> Writing:
    count = len(decoding.rows)
    most = [limit for limit in limits for _ in range(samples)]
    written: list[list[int]] = [[] for _ in range(count)]
    cut = [False] * count
    scores = torch.zeros(count, dtype=torch.float64)
    terminal = scorer.adapter.chat.terminal_id
    decoding.read_prompts()
    hidden = decoding.read_responses()
    length = 0
    going = decoding.rows
    while going:
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
        if ended and going:
            decoding.keep(going)
            hidden = hidden[going]
        length += 1
    return Writing(
        tokens=tuple(torch.tensor(ids, dtype=torch.int64) for ids in written),
        scores=scores,
        cut=tuple(cut),
        tokens_forwarded=decoding.tokens_forwarded,
    )
