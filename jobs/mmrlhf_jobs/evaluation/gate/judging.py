"""Whether a judge of pairs can be trusted: does it say the same when the two change places?

Each query is judged twice, once with the candidate first and once with the champion. What a query
counts as follows from both: a win only where the judge names the candidate in both places.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from mmrlhf_jobs.evaluation.gate.binomial import lower_bound, tail
from mmrlhf_jobs.evaluation.gate.outcomes import Outcomes

__all__ = ["Agreement", "Said", "count_outcomes", "measure_agreement"]


class Said(StrEnum):
    """What a judge said of one pair."""

    CANDIDATE = "candidate"
    CHAMPION = "champion"
    TIE = "tie"
    ERROR = "error"


Pair = tuple[Said, Said]
"""What was said with the candidate first, and with the champion first."""


@dataclass(frozen=True)
class Agreement:
    """How a judge does when the two change places, over queries judged in both.

    Attributes:
        queries: Queries judged twice without an error.
        same: Those of which it said the same twice.
        share: Their share.
        lower: Clopper-Pearson bound of it.
        kappa: Cohen's kappa of the two (1960, Educ. Psychol. Meas. 20, 37); None where all that was
            said is one and the same.
        first_bias: Share of queries where it named the first place twice, minus the second twice.
        p_bias: Two-sided p-value of that (sign test).
    """

    queries: int
    same: int
    share: float
    lower: float
    kappa: float | None
    first_bias: float
    p_bias: float


def measure_agreement(pairs: Sequence[Pair], alpha: float) -> Agreement | None:
    """Measure the agreement of both places; None without a pair that has no error."""
    judged = [pair for pair in pairs if Said.ERROR not in pair]
    if not judged:
        return None
    n = len(judged)
    same = sum(one == other for one, other in judged)
    first, second = (Counter(column) for column in zip(*judged, strict=True))
    chance = sum(first[word] * second[word] for word in first) / n**2
    to_first = sum(pair == (Said.CANDIDATE, Said.CHAMPION) for pair in judged)
    to_second = sum(pair == (Said.CHAMPION, Said.CANDIDATE) for pair in judged)
    moved = to_first + to_second
    return Agreement(
        queries=n,
        same=same,
        share=same / n,
        lower=lower_bound(same, n, alpha),
        kappa=(same / n - chance) / (1 - chance) if chance < 1 else None,
        first_bias=(to_first - to_second) / n,
        p_bias=min(1.0, 2 * tail(max(to_first, to_second), moved, 0.5)),
    )


def count_outcomes(said: Mapping[str, Sequence[Said]]) -> Outcomes:
    """Wins, ties and losses of queries without an error.

    Args:
        said: What was said of each query: in both places, or by people who saw no places, any
            number of times. One that they do not agree about is a tie.
    """
    counted = Counter(
        words[0] if len(set(words)) == 1 else Said.TIE
        for words in said.values()
        if Said.ERROR not in words
    )
    return Outcomes(counted[Said.CANDIDATE], counted[Said.TIE], counted[Said.CHAMPION])
