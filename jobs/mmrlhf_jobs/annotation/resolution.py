"""Several judgements of one task made one.

1. The last word of a reviewer counts: their own ranks and scores, or with ``accept`` alone those of
   the annotators, or with ``reject`` none at all.
2. The one judgement of an annotator counts as it is.
3. Of several, each pair of responses goes by the majority: one is better, or they are tied. A pair
   without a majority is tied, and so gives no preference pair. What comes of all pairs must be a
   ranking; where it is none (better goes in a circle, or a tie that does not carry over), the
   judgements contradict each other and the task is to be annotated again. Scores are medians, the
   lower of two; reasons are those of the annotator who ranked most like the result.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import median_low
from typing import Literal, TypeAlias

from mmrlhf_jobs.annotation.agreement import kendall_tau, krippendorff_alpha, mean_tau
from mmrlhf_jobs.annotation.judgements import Constructed, Judgement, Opinion, score_values
from mmrlhf_jobs.annotation.rubric import RUBRIC, Flag, Tie
from mmrlhf_jobs.data.parts import Resolution, Scores

__all__ = ["Resolved", "Unresolved", "UnresolvedReason", "resolve"]

UnresolvedReason: TypeAlias = Literal["rejected", "contradictory", "undecided"]
"""By a reviewer; annotators contradict each other; accepted, but nobody had annotated it."""


@dataclass(frozen=True)
class Unresolved:
    """No ranking; the task is to be annotated again."""

    reason: UnresolvedReason


@dataclass(frozen=True)
class Resolved:
    """The judgement that counts.

    Attributes:
        opinion: Ranks, scores and texts.
        resolution: How it was found.
        without_majority: Pairs of responses that are tied for lack of a majority.
        left_out: Texts of other annotators that a record has no place for: ``reasons``, and
            ``constructed`` responses.
    """

    opinion: Opinion
    resolution: Resolution
    without_majority: int = 0
    left_out: Counter[str] = field(default_factory=Counter)


def resolve(judgements: Sequence[Judgement]) -> Resolved | Unresolved:
    """Make judgements one; see the module for the rules.

    Args:
        judgements: Of one task, in the order of time, one of each person; at least one.
    """
    opinions = [one.opinion for one in judgements if not one.reviewer and one.opinion is not None]
    agreement = {
        "kendall_tau": mean_tau([opinion.ranks for opinion in opinions]),
        "alpha": krippendorff_alpha(_score_units(opinions)),
    }
    reviewers = [one for one in judgements if one.reviewer]
    if reviewers:
        last = reviewers[-1]
        if last.decision == "reject":
            return Unresolved("rejected")
        if last.opinion is not None:
            others = [one for one in reviewers[:-1] if one.opinion is not None]
            left_out = Counter(reasons=len(opinions) + len(others))
            resolution = Resolution(method="reviewer", **agreement)
            return Resolved(last.opinion, resolution, left_out=left_out)
        if not opinions:
            return Unresolved("undecided")
    found = _only(opinions) if len(opinions) == 1 else _majority(opinions)
    if isinstance(found, Unresolved):
        return found
    method: Literal["single", "majority", "reviewer"] = (
        "reviewer" if reviewers else "single" if len(opinions) == 1 else "majority"
    )
    return replace(found, resolution=Resolution(method=method, **agreement))


def _only(opinions: Sequence[Opinion]) -> Resolved:
    return Resolved(opinions[0], Resolution(method="single"))


def _majority(opinions: Sequence[Opinion]) -> Resolved | Unresolved:
    ranking = _majority_ranks([opinion.ranks for opinion in opinions])
    if ranking is None:
        return Unresolved("contradictory")
    ranks, without_majority = ranking
    speaker = max(opinions, key=lambda opinion: _likeness(opinion.ranks, ranks))
    positives = [one.positive for one in opinions if one.positive]
    negatives = [one.negative for one in opinions if one.negative]
    positive, negative = (given[0] if given else None for given in (positives, negatives))
    if positive and negative and positive.text == negative.text:
        negative = None  # what one calls right is wrong to the other
    opinion = Opinion(
        ranks=ranks,
        scores=tuple(map(_median_scores, zip(*(one.scores for one in opinions), strict=True))),
        reasons=speaker.reasons,
        basis=speaker.basis,
        tie=_tie(ranks, positive, negative),
        flag=_flag([one.flag for one in opinions]),
        positive=positive,
        negative=negative,
    )
    left_out = Counter(
        reasons=len(opinions) - 1,
        constructed=len(positives) + len(negatives) - bool(positive) - bool(negative),
    )
    return Resolved(opinion, Resolution(method="majority"), without_majority, left_out)


def _majority_ranks(
    rankings: Sequence[Sequence[int]],
) -> tuple[tuple[int, ...], int] | None:
    """Ranks by majority and the number of pairs without one, or None for no ranking at all."""
    n = len(rankings[0])
    order = [[0] * n for _ in range(n)]
    without = 0
    for i in range(n):
        for j in range(i + 1, n):
            votes = Counter(_sign(ranks[i] - ranks[j]) for ranks in rankings)
            verdict, count = votes.most_common(1)[0]
            if 2 * count <= len(rankings):
                verdict = 0
                without += 1
            order[i][j], order[j][i] = verdict, -verdict
    ranks = tuple(1 + sum(order[j][i] < 0 for j in range(n)) for i in range(n))
    if any(_sign(ranks[i] - ranks[j]) != order[i][j] for i in range(n) for j in range(n)):
        return None
    return ranks, without


def _likeness(mine: Sequence[int], result: Sequence[int]) -> tuple[bool, float]:
    tau = kendall_tau(mine, result)
    return (tuple(mine) == tuple(result), -2.0 if tau is None else tau)


def _median_scores(scores: Sequence[Scores]) -> Scores:
    columns = zip(*map(score_values, scores), strict=True)
    names = [criterion.name for criterion in RUBRIC]
    return Scores(**{name: median_low(column) for name, column in zip(names, columns, strict=True)})


def _tie(ranks: Sequence[int], positive: Constructed | None, negative: Constructed | None) -> Tie:
    if len(set(ranks)) == len(ranks):
        return "none"
    if bool(positive) == bool(negative):
        return "mixed"
    return "poor" if positive else "good"


def _flag(flags: Sequence[Flag]) -> Flag:
    flag, count = Counter(flags).most_common(1)[0]
    if 2 * count > len(flags):
        return flag
    return next((one for one in flags if one != "ok"), "ok")


def _score_units(opinions: Sequence[Opinion]) -> list[tuple[int, ...]]:
    """Values that each response was given on each scale, by all annotators."""
    rows = [
        [value for scores in opinion.scores for value in score_values(scores)]
        for opinion in opinions
    ]
    return list(zip(*rows, strict=True))


def _sign(value: int) -> int:
    return (value > 0) - (value < 0)
