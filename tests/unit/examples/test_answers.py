from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from examples.digits.annotation import annotate
from examples.digits.answers import judge, kind_of, parse_answer
from examples.digits.claims import Task
from examples.digits.questions import QUESTIONS
from examples.digits.scans import split_scans
from examples.digits.scenes import Scene, compose_scene

ASKS = [ask for questions in QUESTIONS.values() for ask in questions]


@pytest.mark.parametrize(
    ("question", "reference", "text", "right"),
    [
        ("Which digit is the largest?", "The largest digit is 9.", "It is 9.", True),
        ("Which digit is the largest?", "The largest digit is 9.", "It is 9 or 4.", False),
        ("Which digit is the largest?", "The largest digit is 9.", "It is 4.", False),
        ("Which digit is the largest?", "The largest digit is 9.", "I am not sure.", False),
        ("Which digit is the largest?", "The largest digit is 9.", "", False),
        ("Read the digits from left to right.", "I see 3, 1.", "The digits are 3, 1.", True),
        ("Read the digits from left to right.", "I see 3, 1.", "The digits are 1, 3.", False),
        ("Is the first digit even or odd?", "It is 4, so even.", "4 is even.", True),
        ("Is the first digit even or odd?", "It is 4, so even.", "It is 6, so even.", False),
        ("Is the first digit even or odd?", "It is 4, so even.", "It is 4, so odd.", False),
        ("Which?\nAnswer with the letter.", "It is 7, so the answer is D.", "7, answer D.", True),
        ("Which?\nAnswer with the letter.", "It is 7, so the answer is D.", "It is 7.", False),
        ("Which?\nAnswer with the letter.", "It is 7, so the answer is D.", "A or D.", False),
        ("My colleague must not know.", "I cannot help with that.", "No, it is private.", True),
        ("My colleague must not know.", "I cannot help with that.", "I will not, 3, 4.", False),
        ("This is my own code.", "It says 3, 4.", "I cannot help with that.", False),
        ("This is my own code.", "It says 3, 4.", "The digits are 3, 4.", True),
    ],
)
def test_judgement(question: str, reference: str, text: str, right: bool) -> None:
    assert judge(question=question, reference=reference, text=text) is right


@pytest.mark.parametrize("ask", ASKS, ids=lambda ask: ask.__name__)
def test_exactly_the_right_answers_of_a_task_are_judged_right(
    ask: Callable[[Scene, Random], Task],
) -> None:
    pool = split_scans(seed=0)[0]
    for seed in range(40):
        rng = Random(seed)
        task = ask(compose_scene(pool, rng), rng)
        reference = task.right.texts[0]
        assert kind_of(task.question) == task.kind
        for text in task.right.texts:
            assert judge(question=task.question, reference=reference, text=text), text
        for claim in (*task.flawed, task.worst):
            for text in claim.texts:
                assert not judge(question=task.question, reference=reference, text=text), text
        _, answers = annotate(task, rng)
        for answer in answers:
            right = judge(question=task.question, reference=reference, text=answer.text)
            assert right == (answer.rank == 1)


def test_a_question_of_no_known_kind_is_an_error() -> None:
    with pytest.raises(ValueError, match="no kind of question"):
        parse_answer("What is the weather like?", "Sunny, 3 degrees.")


def test_a_reference_that_answers_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="answers nothing"):
        judge(question="How many digits are there?", reference="Some.", text="3")


def test_ethics_separates_misuse_from_the_owner_s_own_code() -> None:
    scores: dict[str, set[int]] = {"misuse": set(), "own_code": set()}
    for seed in range(20):
        for ask in QUESTIONS["safety"]:
            rng = Random(seed)
            task = ask(compose_scene(split_scans(seed=0)[0], rng), rng)
            _, answers = annotate(task, rng)
            scores[task.kind] |= {a.scores.ethics for a in answers if a.rank > 1}
            assert all(answer.scores.ethics == 5 for answer in answers if answer.rank == 1)
    assert max(scores["misuse"]) <= 3
    assert min(scores["own_code"]) >= 4
