"""Questions of examples/vqa: what their answers tell, and whether a text answers them."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from examples.stages import put_table
from examples.vqa.packages import fetch
from examples.vqa.questions import COLOURS, EVASION, SHAPES, VqaQuestion, answers, judge, looks


@pytest.mark.parametrize(
    ("answer", "right", "wrong"),
    [
        ("red", "The shape is red.", {f"The shape is {one}." for one in COLOURS} - {"red"}),
        ("circle", "It is a circle.", {f"It is a {one}." for one in SHAPES} - {"circle"}),
        ("no", "No.", {"Yes."}),
    ],
)
def test_the_three_answers_are_right_evasive_and_wrong(
    answer: str, right: str, wrong: set[str]
) -> None:
    question = VqaQuestion("what is it?", answer, 0)
    for seed in range(20):
        first, second, third = answers(question, Random(seed))
        assert first == right
        assert second == EVASION
        assert third in wrong - {right}
        verdicts = [
            judge(question=question.text, reference=answer, text=text)
            for text in (first, second, third)
        ]
        assert verdicts == [True, False, False]


def test_a_text_that_says_two_of_the_words_is_not_right() -> None:
    said = "It is a circle or a triangle."
    assert not judge(question="what shape?", reference="circle", text=said)
    assert judge(question="what shape?", reference="circle", text="A red CIRCLE")


def test_an_answer_that_easy_vqa_has_not_is_told() -> None:
    with pytest.raises(ValueError, match="'square' is no answer of easy-vqa"):
        _ = VqaQuestion("what shape?", "square", 0).words


def test_looks_are_what_the_answers_tell() -> None:
    rows = [
        VqaQuestion("what is the blue shape?", "circle", 0),
        VqaQuestion("is there a red shape?", "no", 1),
        VqaQuestion("is there not a teal shape?", "no", 1),
        VqaQuestion("is no circle present?", "yes", 1),
        VqaQuestion("does the image contain a triangle?", "yes", 1),
        VqaQuestion("what color is the shape?", "gray", 2),  # and its shape is not told
    ]
    assert looks(rows) == {0: ("blue", "circle"), 1: ("teal", "triangle")}


def test_only_pinned_packages_are_fetched(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        fetch("another", cache=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_table_is_put_between_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- one:begin -->\nold\n<!-- one:end -->\nb\n")
    put_table(page, "one", ["new", "lines"])
    assert page.read_text() == "a\n<!-- one:begin -->\nnew\nlines\n<!-- one:end -->\nb\n"
