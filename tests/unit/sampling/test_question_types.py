"""Types of questions: a labelled set, and the rules one by one."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from mmrlhf_jobs.sampling.corpora.contexts import context_cue
from mmrlhf_jobs.sampling.corpora.question_types import answer_length, type_of

LABELLED = [
    json.loads(line)
    for line in (Path(__file__).parent / "questions.jsonl").read_text("utf-8").splitlines()
]


def test_the_labelled_questions_are_told_apart() -> None:
    """Formats of LLaVA mixes, ScienceQA, AI2D, MathVista and others, in six languages, with
    questions that only look like a choice."""
    pairs = Counter(
        (row["type"], type_of(row["question"], row["answer"], options=row.get("options", ())).type)
        for row in LABELLED
    )
    assert sum(pairs.values()) >= 300
    right = pairs["mcq", "mcq"]
    called = sum(number for (_, found), number in pairs.items() if found == "mcq")
    there = sum(number for (label, _), number in pairs.items() if label == "mcq")
    # docs/sampling.md tells these numbers.
    assert (right, called, there) == (126, 126, 130)
    # What is no choice is told by length alone.
    assert pairs["long", "short"] == pairs["short", "long"] == 0


@pytest.mark.parametrize(
    ("question", "answer", "rules", "options"),
    [
        ("Which?\nA. one\nB. two", "A", "option-lines letter-answer", ("one", "two")),
        ("It is (A) red (B) blue", "blue", "inline-options option-answer", ("red", "blue")),
        ("Answer with the option's letter.", "D", "cue letter-answer", ()),
        ("Do this:\n1. look\n2. count", "There are 3", "option-lines short-answer", ()),
        ("Is it red?", "A", "short-answer", ()),
        ("Which of the following is it?", "9", "cue short-answer", ()),
        ("Pick:\nB. one\nC. two", "B", "short-answer", ()),
        ("Code:\n```\nA. x\nB. y\n```", "A", "short-answer", ()),
        ("Which?\nA. one\nB. two", "C", "option-lines short-answer", ()),
        ("Which?\n1. one\n2. two", "2", "option-lines letter-answer", ("one", "two")),
    ],
)
def test_rules(question: str, answer: str, rules: str, options: tuple[str, ...]) -> None:
    found = type_of(question, answer)
    assert " ".join(found.rules) == rules
    assert found.type == ("mcq" if "short-answer" not in rules else "short")
    if found.type == "mcq":
        assert found.options == options


@pytest.mark.parametrize(("unseen", "right", "called", "there"), [(0, 54, 57, 54), (1, 4, 5, 14)])
def test_questions_that_lean_on_earlier_ones(
    unseen: bool, right: int, called: int, there: int
) -> None:
    """Those that were at hand when the patterns were written, and those that were not."""
    pairs = Counter(
        (row["needs_context"], context_cue(row["question"], row["turn"]) is not None)
        for row in LABELLED
        if row.get("turn") and row.get("unseen", False) == unseen
    )
    assert pairs[True, True] == right
    assert pairs[True, True] + pairs[False, True] == called
    assert pairs[True, True] + pairs[True, False] == there
    assert pairs[False, False] >= 8
    assert context_cue("Why?", 0) is None


@pytest.mark.parametrize(
    ("question", "answer", "kind"),
    [
        ("Which?\nA - one\nB - two", "B", "mcq"),
        ("Choices: red, green or blue. Which is it?", "green", "short"),  # "green or blue" is one
        ("Options: red, green, blue. Which is it?", "Green.", "mcq"),
        ("Options: red, green, blue. How many are there?", "3", "short"),
        ("The options: red.", "red", "short"),
    ],
)
def test_dashes_and_bare_lists(question: str, answer: str, kind: str) -> None:
    assert type_of(question, answer).type == kind


def test_an_answer_as_long_as_the_threshold_is_short() -> None:
    assert type_of("Why?", " " + "x" * 128 + " ").type == "short"
    assert type_of("Why?", "x" * 129).type == "long"
    assert type_of("Why?", "x" * 11, long_threshold=10).type == "long"


def test_characters_count_not_bytes_or_marks() -> None:
    assert answer_length("e\u0301" * 100) == 100
    assert type_of("?", "语" * 128).type == "short"


def test_options_of_the_corpus_make_a_choice_of_any_question() -> None:
    found = type_of("What is it?", "x" * 500, options=["a cat", "a dog"])
    assert found.type == "mcq"
    assert found.options == ("a cat", "a dog")
