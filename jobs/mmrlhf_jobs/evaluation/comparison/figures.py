"""Who wins how often, and how far the judge can be trusted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from mmrlhf_jobs.evaluation.comparison.pairs import PairVerdict
from mmrlhf_jobs.evaluation.gate.binomial import lower_bound, upper_bound
from mmrlhf_jobs.evaluation.gate.judging import (
    Agreement,
    Said,
    count_outcomes,
    measure_agreement,
)
from mmrlhf_jobs.evaluation.gate.outcomes import Outcomes

__all__ = ["LEVEL", "ComparisonFigures", "measure_comparison"]

LEVEL: Final = 0.95
"""Level of the intervals."""
_ALPHA: Final = (1 - LEVEL) / 2


@dataclass(frozen=True)
class ComparisonFigures:
    """What came of a comparison.

    Attributes:
        outcomes: Queries that the candidate wins, nobody wins, and the champion wins; a query
            judged in both places is won only where both say so.
        agreement: How far the two places agree; None of people or scores, who know no places.
        errors: Queries without a verdict in either place, by reason.
        queries: All queries, with a verdict or not.
    """

    outcomes: Outcomes
    agreement: Agreement | None
    errors: Mapping[str, int]
    queries: int

    @property
    def error_share(self) -> float:
        """Queries without a verdict among all."""
        return (self.queries - self.outcomes.queries) / self.queries if self.queries else 0.0

    @property
    def win_rate(self) -> float | None:
        """Wins among decided queries; None without one."""
        decided = self.outcomes.decided
        return self.outcomes.wins / decided if decided else None

    def named(self) -> dict[str, float]:
        """The figures of a job."""
        found = {
            "queries": self.queries,
            "wins": self.outcomes.wins,
            "ties": self.outcomes.ties,
            "losses": self.outcomes.losses,
            "errors": self.queries - self.outcomes.queries,
            "winRate": self.win_rate,
            "agreement": None if self.agreement is None else self.agreement.share,
        }
        return {name: float(value) for name, value in found.items() if value is not None}

    def to_dict(self) -> dict[str, Any]:
        """Plain values with wire names."""
        wins, decided = self.outcomes.wins, self.outcomes.decided
        return {
            "version": "ComparisonFigures/v1",
            "level": LEVEL,
            "queries": self.queries,
            "wins": wins,
            "ties": self.outcomes.ties,
            "losses": self.outcomes.losses,
            "errors": self.queries - self.outcomes.queries,
            "reasons": dict(self.errors),
            "winRate": {
                "value": self.win_rate,
                "lower": lower_bound(wins, decided, _ALPHA) if decided else 0.0,
                "upper": upper_bound(wins, decided, _ALPHA) if decided else 1.0,
                "decided": decided,
            },
            "agreement": _told(self.agreement),
        }


def _told(agreement: Agreement | None) -> dict[str, Any] | None:
    if agreement is None:
        return None
    return {
        "queries": agreement.queries,
        "same": agreement.same,
        "share": agreement.share,
        "lower": agreement.lower,
        "kappa": agreement.kappa,
        "firstBias": agreement.first_bias,
        "pBias": agreement.p_bias,
    }


def measure_comparison(verdicts: Mapping[str, PairVerdict]) -> ComparisonFigures:
    """Count verdicts.

    Args:
        verdicts: By the id of the query.
    """
    said = {query: list(one.said.values()) for query, one in verdicts.items()}
    placed = [
        (one.said[True], one.said[False]) for one in verdicts.values() if set(one.said) != {None}
    ]
    return ComparisonFigures(
        outcomes=count_outcomes(said),
        agreement=measure_agreement(placed, _ALPHA),
        errors=Counter(
            one.reasons[0] for one in verdicts.values() if Said.ERROR in one.said.values()
        ),
        queries=len(verdicts),
    )
