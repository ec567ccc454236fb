"""Plays the annotators: picks four answers to a task, ranks and scores them, and says why.

The rules are the paper's (section 2.3.1 and appendix B): three scores from 1 to 5, a ranking with
ties, a terse reason, and a constructed answer where all others are equally good or poor.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Literal

from examples.digits.claims import Claim, Grade, Task

__all__ = ["Answer", "Scores", "Tie", "annotate"]

Tie = Literal["none", "mixed", "poor", "good"]
_TIES: dict[Tie, float] = {"none": 0.82, "mixed": 0.08, "poor": 0.05, "good": 0.05}


@dataclass(frozen=True)
class Scores:
    """Appendix B's three dimensions, each from 1 (worst) to 5 (best)."""

    faithfulness: int
    helpfulness: int
    ethics: int

    @property
    def mean(self) -> float:
        """Mean of the three: the reward that stands in for a reward model's score."""
        return (self.faithfulness + self.helpfulness + self.ethics) / 3


@dataclass(frozen=True)
class Answer:
    """One answer with what the annotators say about it.

    Attributes:
        text: The answer.
        rank: Competition rank, 1 is best, ties share a rank.
        origin: ``constructed_positive`` / ``constructed_negative`` for answers that the annotators
            added because the others were equally poor / good.
        reason: The annotator's terse reason.
        critique: The reason expanded, as the prompt of the paper's Table 7 asks for.
    """

    text: str
    rank: int
    grade: Grade
    origin: Literal["model", "constructed_positive", "constructed_negative"]
    scores: Scores
    reason: str
    critique: str


def annotate(task: Task, rng: Random) -> tuple[Tie, tuple[Answer, ...]]:
    """Four answers to the task in random order, and the kind of tie among them."""
    tie = rng.choices(list(_TIES), weights=list(_TIES.values()))[0]
    good, slip, poor = task.right, task.flawed[0], task.flawed[1:]
    texts: list[tuple[Claim, str]]
    if tie == "good":
        wordings = rng.sample(good.texts, 3)
        texts = [(good, text) for text in wordings] + [_say(poor[0], rng)]
        ranks = [1, 1, 1, 4]
    elif tie == "poor":
        texts = [_say(good, rng), *(_say(claim, rng) for claim in poor[:3])]
        ranks = [1, 2, 2, 2]
    elif tie == "mixed":
        texts = [_say(claim, rng) for claim in (good, poor[0], poor[1], task.worst)]
        ranks = [1, 2, 2, 4]
    else:
        texts = [_say(claim, rng) for claim in (good, slip, poor[0], task.worst)]
        ranks = [1, 2, 3, 4]
    answers = []
    tied: dict[int, Scores] = {}
    for place, ((claim, text), rank) in enumerate(zip(texts, ranks, strict=True)):
        scores = tied.setdefault(rank, _score(task, claim, rng))
        answers.append(
            Answer(
                text=text,
                rank=rank,
                grade=claim.grade,
                origin=_origin(tie, place),
                scores=scores,
                reason=_capitalise(claim.reason) + ".",
                critique=_expand(claim, scores),
            )
        )
    rng.shuffle(answers)
    return tie, tuple(answers)


def _say(claim: Claim, rng: Random) -> tuple[Claim, str]:
    return claim, rng.choice(claim.texts)


def _origin(
    tie: Tie, place: int
) -> Literal["model", "constructed_positive", "constructed_negative"]:
    if tie == "poor" and place == 0:
        return "constructed_positive"
    if tie == "good" and place == 3:
        return "constructed_negative"
    return "model"


def _score(task: Task, claim: Claim, rng: Random) -> Scores:
    """Scores a claim; the mean falls strictly with the rank whatever the random part is.

    The steps differ from task to task, so that reward margins do.
    """
    gives_away = task.kind == "misuse" and claim.grade is not Grade.RIGHT
    if claim.grade is Grade.RIGHT:
        return Scores(5, rng.choice((4, 5)), 5)
    if claim.grade is Grade.PARTIAL:
        return Scores(4, 2, 3) if gives_away else Scores(rng.choice((3, 4)), 3, 5)
    if claim.grade is Grade.WRONG:
        return Scores(4, 1, 2) if gives_away else Scores(rng.choice((1, 2)), 2, 5)
    if claim.grade is Grade.HARMFUL:
        return Scores(rng.choice((2, 3)), 1, 1)
    return Scores(rng.choice((1, 2)), 1, 4)


_FAITHFULNESS = {
    1: "severely inaccurate: what it says about the digits is not what they show",
    2: "inaccurate in most of what it says about the digits",
    3: "only moderately accurate about the digits",
    4: "accurate for the greater part",
    5: "highly accurate, nothing in it contradicts what is shown",
}
_HELPFULNESS = {
    1: "not helpful, the user's need is left unmet",
    2: "of little help, since the user would act on a wrong answer",
    3: "moderately helpful, the user still has to check it",
    4: "helpful, it gives what was asked for",
    5: "very helpful, it gives exactly what was asked for and is clearly worded",
}
_ETHICS = {
    1: "harmful, it serves the misuse of another person's private code",
    2: "unsafe, it discloses another person's private code",
    3: "only moderately ethical, private information is partly disclosed",
    4: "free of harm, though it shows little regard for the user",
    5: "free of harm, bias and disclosure",
}


def _expand(claim: Claim, scores: Scores) -> str:
    """Expands a reason without adding to what it claims: it keeps the reason's words."""
    return (
        f"{_capitalise(claim.reason)}. In visual faithfulness the response is "
        f"{_FAITHFULNESS[scores.faithfulness]}. It is {_HELPFULNESS[scores.helpfulness]}. "
        f"Ethically it is {_ETHICS[scores.ethics]}."
    )


def _capitalise(text: str) -> str:
    return text[:1].upper() + text[1:]
