"""Candidate and champion on the same queries by wins, ties and losses: exact tests.

One outcome a query. That the candidate is better is shown by the sign test over the queries that
one of the two wins. For figures that are right or wrong it is McNemar's exact test, since only
queries that one gets right and the other wrong are won or lost. Ties, dropped there, count in the
difference: wins minus losses as a share of all queries.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from mmrlhf_jobs.evaluation.gate.binomial import lower_bound, tail, upper_bound

__all__ = ["OutcomeComparison", "Outcomes", "compare_outcomes", "queries_needed"]

_SPLIT: Final = 0.1
"""Share of the error that the bound of the decided queries takes; the win rate has the rest."""


@dataclass(frozen=True)
class Outcomes:
    """Queries that the candidate wins, that nobody wins, and that the champion wins."""

    wins: int
    ties: int
    losses: int

    @property
    def queries(self) -> int:
        """All of them."""
        return self.wins + self.ties + self.losses

    @property
    def decided(self) -> int:
        """Those that one of the two wins."""
        return self.wins + self.losses

    @property
    def mirrored(self) -> Outcomes:
        """The same with the two models exchanged."""
        return Outcomes(self.losses, self.ties, self.wins)


@dataclass(frozen=True)
class OutcomeComparison:
    """What wins and losses say; bounds are one-sided, each wrong in a share alpha of all draws.

    Attributes:
        win_rate: Wins among the decided queries; None without one.
        win_rate_lower: Its Clopper-Pearson bound.
        difference: Wins minus losses as a share of all queries, -1 to 1.
        lower: Lower bound of the difference.
        upper: Upper bound of the difference.
        p_better: p-value of the hypothesis that the candidate is not better.
        p_worse: p-value of the hypothesis that it is not worse.
    """

    win_rate: float | None
    win_rate_lower: float
    difference: float
    lower: float
    upper: float
    p_better: float
    p_worse: float


def compare_outcomes(outcomes: Outcomes, alpha: float) -> OutcomeComparison:
    """Compare two models by the outcomes of at least one query.

    The difference is the decided share times (2 x win rate - 1). Its bound puts a bound of each of
    the two into that: the decided share may take a tenth of alpha, and the win rate, whose wins are
    binomial given the number of the decided ones, the rest. Both are exact, so this is (as in
    Berger and Boos 1994, J. Am. Stat. Assoc. 89, 1012).
    """
    wins, decided, queries = outcomes.wins, outcomes.decided, outcomes.queries
    return OutcomeComparison(
        win_rate=wins / decided if decided else None,
        win_rate_lower=lower_bound(wins, decided, alpha),
        difference=(wins - outcomes.losses) / queries,
        lower=_lower(outcomes, alpha),
        upper=-_lower(outcomes.mirrored, alpha),
        p_better=tail(wins, decided, 0.5),
        p_worse=tail(outcomes.losses, decided, 0.5),
    )


def queries_needed(margin: float, alpha: float) -> int:
    """The least number of queries, all of them ties, that show a loss of at most the margin."""
    return math.ceil(math.log(alpha * _SPLIT) / math.log1p(-margin))


def _lower(outcomes: Outcomes, alpha: float) -> float:
    apart = 2 * lower_bound(outcomes.wins, outcomes.decided, alpha * (1 - _SPLIT)) - 1
    bound = lower_bound if apart > 0 else upper_bound
    return apart * bound(outcomes.decided, outcomes.queries, alpha * _SPLIT)
