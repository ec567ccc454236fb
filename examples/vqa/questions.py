"""What is asked about a picture, and what may be answered.

easy-VQA asks about one shape in one colour, and gives one of 13 words as the answer. Here each
question has three answers in whole sentences: one that says that word, one that says nothing, and
one that says another word that would fit the question.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Final, Literal

from examples.vqa.packages import fetch

__all__ = [
    "COLOURS",
    "EVASION",
    "PACKAGE",
    "SHAPES",
    "Split",
    "VqaQuestion",
    "answers",
    "judge",
    "looks",
    "read_images",
    "read_questions",
    "say",
]

PACKAGE: Final = "easy-vqa"
SHAPES: Final = ("circle", "rectangle", "triangle")
COLOURS: Final = ("black", "blue", "brown", "gray", "green", "red", "teal", "yellow")
_VERDICTS: Final = ("yes", "no")
EVASION: Final = "I cannot tell from the picture."
"""An answer that is never wrong and never of use."""

Split = Literal["train", "test"]


@dataclass(frozen=True)
class VqaQuestion:
    """A question of easy-VQA.

    Attributes:
        text: The question.
        answer: The right word.
        image: Number of the picture in its split.
    """

    text: str
    answer: str
    image: int

    @property
    def words(self) -> tuple[str, ...]:
        """The words that fit the question, right or wrong.

        Raises:
            ValueError: The answer is none of easy-VQA's.
        """
        for words in (SHAPES, COLOURS, _VERDICTS):
            if self.answer in words:
                return words
        raise ValueError(f"{self.answer!r} is no answer of {PACKAGE}")


def read_questions(split: Split) -> tuple[VqaQuestion, ...]:
    """All questions of a split, in the package's order."""
    with fetch(PACKAGE) as wheel:
        rows = json.loads(wheel.read(f"easy_vqa/data/{split}/questions.json"))
    return tuple(VqaQuestion(*row) for row in rows)


def read_images(split: Split, numbers: Iterable[int]) -> Iterator[tuple[int, bytes]]:
    """Pictures of a split as PNG, 64 x 64 pixels each."""
    with fetch(PACKAGE) as wheel:
        for number in sorted(set(numbers)):
            yield number, wheel.read(f"easy_vqa/data/{split}/images/{number}.png")


def looks(questions: Iterable[VqaQuestion]) -> dict[int, tuple[str, str]]:
    """Colour and shape of each picture, where its questions and their answers tell both."""
    told: dict[int, set[str]] = defaultdict(set)
    for question in questions:
        if question.answer in _VERDICTS:
            negated = bool(re.search(r"\b(not|no)\b", question.text))
            if negated == (question.answer == "yes"):
                continue  # it names what the picture does not show
        told[question.image] |= {*re.findall(r"[a-z]+", question.text), question.answer}
    found = {}
    for image, words in sorted(told.items()):
        colour, shape = words.intersection(COLOURS), words.intersection(SHAPES)
        if colour and shape:
            found[image] = (colour.pop(), shape.pop())
    return found


def say(word: str) -> str:
    """A word as an answer."""
    if word in COLOURS:
        return f"The shape is {word}."
    if word in SHAPES:
        return f"It is a {word}."
    return f"{word.capitalize()}."


def answers(question: VqaQuestion, rng: Random) -> tuple[str, str, str]:
    """Three answers: the right one, one that says nothing, a wrong one."""
    wrong = rng.choice([word for word in question.words if word != question.answer])
    return say(question.answer), EVASION, say(wrong)


def judge(*, question: str, reference: str, text: str) -> bool:
    """Whether a text says the right word, and no other that fits the question."""
    words = VqaQuestion(question, reference, image=0).words
    return set(re.findall(r"[a-z]+", text.lower())).intersection(words) == {reference}
