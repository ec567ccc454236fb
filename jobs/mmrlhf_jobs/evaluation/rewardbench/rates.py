"""Shares of correct judgements with their intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple, TypeAlias

__all__ = ["Interval", "Rate", "clustered_interval", "wilson_interval"]

Interval: TypeAlias = tuple[float, float]

_Z: Final = 1.959963984540054
"""Quantile of the normal distribution for 95 %."""


class Rate(NamedTuple):
    """A number of correct ones among n."""

    correct: int
    n: int

    @property
    def value(self) -> float | None:
        """The share, 0 to 1; None of nothing."""
        return self.correct / self.n if self.n else None

    @property
    def interval(self) -> Interval | None:
        """95 % Wilson interval of the share; None of nothing."""
        return wilson_interval(self.correct / self.n, self.n) if self.n else None


def wilson_interval(share: float, n: float) -> Interval:
    """95 % score interval of a binomial share (Wilson 1927, J. Am. Stat. Assoc. 22, 209).

    Args:
        share: Observed share, 0 to 1.
        n: Independent observations, above 0; need not be whole.
    """
    square = _Z * _Z / n
    centre = (share + square / 2) / (1 + square)
    half = _Z / (1 + square) * math.sqrt(share * (1 - share) / n + square / (4 * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def clustered_interval(counts: Sequence[Rate]) -> Interval | None:
    """95 % interval of a share of pairs, where the pairs of one query depend on each other.

    The pairs of a query share responses, so 170 pairs of 46 queries say less than 170 independent
    ones. This is Wilson's interval with the effective number of observations: the one at which a
    binomial share varies as much as this one does between queries (linearised ratio estimator;
    Franco et al. 2019, J. Surv. Stat. Methodol. 7, 334). Where all pairs are right, or all are
    wrong, nothing tells how they hang together, and every query counts as one observation.

    Args:
        counts: Per query the right pairs among its pairs.

    Returns:
        The interval, or None without a pair.
    """
    filled = [count for count in counts if count.n]
    if not filled:
        return None
    clusters, pairs = len(filled), sum(count.n for count in filled)
    share = sum(count.correct for count in filled) / pairs
    binomial = share * (1 - share)
    if binomial == 0 or clusters == 1:
        return wilson_interval(share, clusters)
    # fsum: the figures must not depend on the order of the queries.
    squares = math.fsum((count.correct - share * count.n) ** 2 for count in filled)
    variance = squares / pairs**2 * clusters / (clusters - 1)
    # Queries that are all alike would make it infinite; there are no more observations than pairs.
    effective = min(pairs, binomial / variance) if variance else pairs
    return wilson_interval(share, effective)
