"""What an answer can claim about a picture: rightly, partly rightly, wrongly or not at all."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from random import Random

__all__ = ["LOOK_ALIKES", "Claim", "Grade", "Task", "list_digits", "misread"]


class Grade(StrEnum):
    """How good an answer is; the order of the members is the order of preference."""

    RIGHT = "right"
    PARTIAL = "partial"
    WRONG = "wrong"
    HARMFUL = "harmful"
    UNHELPFUL = "unhelpful"


@dataclass(frozen=True)
class Claim:
    """One answer in several wordings.

    Attributes:
        grade: How good the answer is.
        texts: Wordings with the same content, at least one.
        reason: What an annotator jots down about it, a few words.
    """

    grade: Grade
    texts: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class Task:
    """A question about a scene with every answer that may be offered for it.

    Attributes:
        kind: Sort of question, a key of :data:`examples.digits.answers.KINDS`.
        question: The user's words.
        right: The right answer in at least three wordings; the first is the reference answer.
        flawed: Answers between the right and the worst one, better ones first: one at
            :attr:`Grade.PARTIAL` or :attr:`Grade.WRONG`, then at least three equally poor ones.
        worst: The least useful (or most harmful) answer.
        options: Options of a multiple-choice question, in the order of their letters.
    """

    kind: str
    question: str
    right: Claim
    flawed: tuple[Claim, ...]
    worst: Claim
    options: tuple[str, ...] = ()


LOOK_ALIKES = {0: 6, 1: 7, 2: 3, 3: 8, 4: 9, 5: 6, 6: 0, 7: 1, 8: 3, 9: 4}
"""The digit that a hasty reader takes each digit for."""


def misread(digit: int, rng: Random, *, look_alike: float = 0.9) -> int:
    """Another digit: its look-alike with that probability, else any other one."""
    if rng.random() < look_alike:
        return LOOK_ALIKES[digit]
    return rng.choice([other for other in range(10) if other != digit])


def list_digits(digits: tuple[int, ...]) -> str:
    """``3, 7, 1``."""
    return ", ".join(map(str, digits))
