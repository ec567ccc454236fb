"""Critiques written from a shared cache, against transformers' generate and teacher forcing."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from mmrlhf_jobs.forward.choices import choose_likeliest, choose_sampled
from mmrlhf_jobs.models import EncodedGroup, LoadedModel
from mmrlhf_jobs.models.critique_template import CritiqueTemplate
from mmrlhf_jobs.reward_model.writing import write_critiques
from tests.jobs.reward.conftest import QUERIES, make_scorer
from tests.jobs.reward.test_scores import plain_inputs


@pytest.fixture
def opened(prompt: CritiqueTemplate) -> list[EncodedGroup]:
    return [prompt.open(*query[:3]) for query in QUERIES]


def count(groups: Sequence[EncodedGroup]) -> int:
    return sum(len(group.responses) for group in groups)


def test_greedy_critiques_are_those_of_generate(
    loaded: LoadedModel, opened: list[EncodedGroup]
) -> None:
    limit = 6
    writing = write_critiques(
        make_scorer(loaded), opened, choose=choose_likeliest, limits=[limit] * count(opened)
    )
    expected = []
    for group in opened:
        for response in group.responses:
            inputs = plain_inputs(group, response)
            generated = loaded.model.generate(
                **inputs,
                attention_mask=torch.ones_like(inputs["input_ids"]),
                max_new_tokens=limit,
                do_sample=False,
                eos_token_id=loaded.adapter.chat.terminal_id,
                pad_token_id=0,
            )
            expected.append(generated[0, inputs["input_ids"].shape[1] :].tolist())
    terminal = loaded.adapter.chat.terminal_id
    for ids, row, cut in zip(writing.tokens, expected, writing.cut, strict=True):
        assert ids.tolist() == [token for token in row if token != terminal]
        assert cut == (terminal not in row)
    assert len({tuple(row) for row in expected}) > 1, "the rows must not be alike"


def test_score_after_a_forced_critique_is_the_teacher_forced_one(
    loaded: LoadedModel, prompt: CritiqueTemplate, opened: list[EncodedGroup]
) -> None:
    """Greedy decoding forced to the ground truth; what is read from the cache is what a forward
    pass over everything reads, and every token went through the model once."""
    scorer = make_scorer(loaded)
    whole = [
        prompt.encode(question, media, responses, [text or "" for text in critiques])
        for question, media, responses, critiques in QUERIES
    ]
    forced = [
        response[len(start) :].tolist()
        for group, begun in zip(whole, opened, strict=True)
        for response, start in zip(group.responses, begun.responses, strict=True)
    ]

    def choose(logits: Tensor, rows: Sequence[int], length: int) -> Tensor:
        assert len(logits) == len(rows)
        return torch.tensor([forced[row][length] for row in rows])

    writing = write_critiques(scorer, opened, choose=choose, limits=[99] * count(opened))
    torch.testing.assert_close(writing.scores, scorer(whole).scores, rtol=1e-9, atol=1e-9)
    assert [[*ids.tolist(), 2] for ids in writing.tokens] == forced
    assert writing.tokens_forwarded == sum(group.tokens for group in whole)
    assert not any(writing.cut)


def test_a_cut_critique_is_ended_and_scored(
    loaded: LoadedModel, prompt: CritiqueTemplate, opened: list[EncodedGroup]
) -> None:
    scorer = make_scorer(loaded)

    def never_end(logits: Tensor, rows: Sequence[int], length: int) -> Tensor:
        return torch.full((len(rows),), 40 + length)

    limits = [3, 0, 2, 1, 3, 2, 0]
    writing = write_critiques(scorer, opened, choose=never_end, limits=limits)
    assert [len(ids) for ids in writing.tokens] == limits
    assert all(writing.cut)
    first = EncodedGroup(
        opened[0].prompt_ids,
        (torch.cat([opened[0].responses[0], torch.tensor([40, 41, 42, 2])]),),
        opened[0].media_inputs,
    )
    torch.testing.assert_close(scorer([first]).scores, writing.scores[:1], rtol=1e-9, atol=1e-9)


def test_what_is_written_does_not_depend_on_the_batch(
    loaded: LoadedModel, opened: list[EncodedGroup]
) -> None:
    scorer = make_scorer(loaded)
    seeds = list(range(2 * count(opened)))

    def write(groups: list[EncodedGroup], own: list[int]) -> tuple[list[list[int]], Tensor]:
        writing = write_critiques(
            scorer,
            groups,
            choose=choose_sampled(own, temperature=1.5),
            limits=[5] * count(groups),
            samples=2,
        )
        return [ids.tolist() for ids in writing.tokens], writing.scores

    together, scores = write(opened, seeds)
    place = 0
    for group in opened:
        rows = 2 * len(group.responses)
        texts, own = write([group], seeds[place : place + rows])
        assert texts == together[place : place + rows]
        torch.testing.assert_close(own, scores[place : place + rows], rtol=1e-9, atol=1e-9)
        place += rows
    assert together[0] != together[1], "samples of one response differ"


def test_sampling_follows_the_distribution() -> None:
    logits = torch.tensor([[0.0, 1.0, 2.0]]).repeat(4000, 1)
    choose = choose_sampled(list(range(4000)), temperature=0.5)
    drawn = choose(logits, range(4000), 0)
    shares = torch.bincount(drawn, minlength=3) / 4000
    torch.testing.assert_close(shares, torch.softmax(logits[0] / 0.5, -1), rtol=0.0, atol=0.025)
