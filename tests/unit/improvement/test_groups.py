"""Ranked records from samples and scores."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmrlhf_jobs.data.parts import ModelOrigin
from mmrlhf_jobs.data.queries import QueryRecord, as_query
from mmrlhf_jobs.data.records import RankedResponse
from mmrlhf_jobs.improvement.groups import (
    Candidates,
    Sample,
    find_candidates,
    form_group,
    judge_for,
    judge_sample,
)
from tests.unit.data.builders import make_record

ORIGINS = [ModelOrigin(name=f"m{number}") for number in range(16)]


def query() -> QueryRecord:
    return as_query(make_record())


def group(texts: list[str], scores: list[float], **options: Any) -> RankedResponse | str:
    candidates = find_candidates([Sample(text) for text in texts])
    return form_group(query(), candidates, scores, origins=ORIGINS, **options)


def test_identical_samples_are_one_response() -> None:
    found = find_candidates([Sample("a"), Sample("b"), Sample(" a\n"), Sample("a")])
    assert found == Candidates(("a", "b"), ((0, 2, 3), (1,)))
    assert found.repeated == 2
    record = group(["a", "b", " a\n", "a"], [0.0, 1.0])
    assert isinstance(record, RankedResponse)
    assert [one.text for one in record.responses] == ["a", "b"]
    assert record.ranks == (2, 1)
    first = record.responses[0]
    assert [one.model.name for one in first.duplicates if one.model] == ["m2", "m3"]
    assert first.model
    assert first.model.name == "m0"


def test_samples_that_cannot_be_used_are_dropped() -> None:
    samples = [Sample("", "empty"), Sample("a"), Sample("b", "truncated"), Sample("c", "unusable")]
    assert find_candidates(samples).texts == ("a",)


@pytest.mark.parametrize(
    ("texts", "scores", "reason"),
    [
        ([], [], "noneUsable"),
        (["a", "a", "a"], [1.0], "identical"),
        (["a", "b"], [1.0, 1.0], "equalScores"),
    ],
)
def test_queries_without_a_pair_say_why(texts: list[str], scores: list[float], reason: str) -> None:
    assert group(texts, scores) == reason


def test_the_spread_must_be_large_enough() -> None:
    assert group(["a", "b"], [0.0, 0.5], min_spread=0.5) == "equalScores"
    assert isinstance(group(["a", "b"], [0.0, 0.5], min_spread=0.49), RankedResponse)


@pytest.mark.parametrize("score", [math.nan, math.inf])
def test_scores_must_be_finite(score: float) -> None:
    with pytest.raises(ValueError, match=r"'r1': the scores .* are not finite"):
        group(["a", "b"], [0.0, score])


def test_scores_must_fit_the_responses() -> None:
    with pytest.raises(ValueError, match="2 responses, but 3 scores"):
        group(["a", "b"], [0.0, 1.0, 2.0])


@given(st.lists(st.integers(-3, 3), min_size=2, max_size=16).filter(lambda s: len(set(s)) > 1))
def test_ranks_follow_the_scores(scores: list[int]) -> None:
    record = group([f"t{n}" for n in range(len(scores))], [float(score) for score in scores])
    assert isinstance(record, RankedResponse), "ranks are valid competition ranks"
    for mine, score in zip(record.ranks, scores, strict=True):
        assert mine == 1 + sum(other > score for other in scores)


@pytest.mark.parametrize(
    ("written", "ended", "text", "flaw", "thought"),
    [
        ("Two dogs.", True, "Two dogs.", None, False),
        ("Two dogs, one of", False, "Two dogs, one of", "truncated", False),
        (" \n", True, " \n", "empty", False),
        ("<think>Two?</think>\nTwo dogs.", True, "Two dogs.", None, True),
        ("Two?\n</think>\nTwo dogs.", True, "Two dogs.", None, True),
        ("<think>Two? Let me", False, "", "unfinishedThought", True),
        ("<think>Two?</think>", True, "", "unfinishedThought", True),
        ("\u25c1think\u25b7Two?\u25c1/think\u25b7Two dogs.", True, "Two dogs.", None, True),
        ("[Insert answer here]", True, "[Insert answer here]", "placeholder", False),
        ("Two dogs.<|im_end|>", True, "Two dogs.<|im_end|>", "markup", False),
        ("Two dogs. <think>Or", True, "Two dogs. <think>Or", "markup", False),
    ],
)
def test_samples_are_judged_as_answers_of_servers(
    written: str, ended: bool, text: str, flaw: str | None, thought: bool
) -> None:
    found = judge_sample(written, ended=ended)
    assert (found.text, found.flaw, found.thought) == (text, flaw, thought)


def test_what_follows_an_open_thought_is_thought() -> None:
    assert judge_sample("Two? Let me", opened=True).flaw == "unfinishedThought"
    assert judge_sample("Two?</think>Two dogs.", opened=True).text == "Two dogs."


def test_a_refusal_is_a_sample_of_a_question_about_safety_alone() -> None:
    refusal = judge_sample("I'm sorry, but I can't help with that.")
    assert judge_for(query(), refusal).flaw == "refusal"
    safety = as_query(make_record(domain="safety", type=None))
    assert judge_for(safety, refusal).flaw is None


def test_samples_of_older_journals_are_judged_anew() -> None:
    assert judge_for(query(), Sample("<think>Two?</think>Two dogs.")).text == "Two dogs."
    assert judge_for(query(), Sample("<think>Two?")).flaw == "unfinishedThought"
    assert judge_for(query(), Sample("<think>Two", "truncated")).flaw == "truncated"
