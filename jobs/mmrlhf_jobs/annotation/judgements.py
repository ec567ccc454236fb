"""What an annotator said of a task, checked and led back to responses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mmrlhf_jobs.annotation.answers import Answer
from mmrlhf_jobs.annotation.rubric import RUBRIC, Decision, Flag, Tie
from mmrlhf_jobs.data.parts import Scores

__all__ = ["Constructed", "Judgement", "Opinion", "rank_places", "score_values"]


@dataclass(frozen=True)
class Constructed:
    """A response that an annotator wrote (paper 2.3.1).

    Attributes:
        text: Its text.
        derived_from: Id of the response that a negative was made from.
    """

    text: str
    derived_from: str | None = None


@dataclass(frozen=True)
class Opinion:
    """Ranks and scores; the order is that of the record's responses.

    Attributes:
        ranks: Competition ranks of the responses, 1 is best.
        scores: Scores of each response.
        reasons: Why, for each response.
        basis: Why they are ranked so.
        tie: Tie status.
        flag: What is wrong with the question.
        positive: A correct answer.
        negative: A response with errors put in.
    """

    ranks: tuple[int, ...]
    scores: tuple[Scores, ...]
    reasons: tuple[str, ...]
    basis: str
    tie: Tie
    flag: Flag
    positive: Constructed | None = None
    negative: Constructed | None = None

    @property
    def against_scores(self) -> bool:
        """Whether some response ranks before one that beats it in all scores."""
        values = [score_values(scores) for scores in self.scores]
        return any(
            rank < other and all(a < b for a, b in zip(mine, theirs, strict=True))
            for rank, mine in zip(self.ranks, values, strict=True)
            for other, theirs in zip(self.ranks, values, strict=True)
        )


@dataclass(frozen=True)
class Judgement:
    """A checked answer.

    Attributes:
        answer: Where it came from.
        reviewer: Whether a reviewer gave it.
        opinion: Ranks and scores; None of a reviewer who only decided.
        decision: What a reviewer decided.
    """

    answer: Answer
    reviewer: bool
    opinion: Opinion | None
    decision: Decision | None = None


def rank_places(places: Sequence[int]) -> tuple[int, ...]:
    """Competition ranks of things that stand on places, of which some may be empty."""
    return tuple(1 + sum(other < place for other in places) for place in places)


def score_values(scores: Scores) -> tuple[int, ...]:
    """The scores of one response in the order of the rubric."""
    return tuple(getattr(scores, criterion.name) for criterion in RUBRIC)
