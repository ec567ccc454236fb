"""Mean differences of candidate and champion over the same queries: a paired bootstrap.

One difference a query: where a query has several rows, its difference is the mean of theirs, so
that rows that hang together count once. Queries are drawn with replacement, and each mean is
studentised (Efron 1981, Can. J. Stat. 9, 139; Hall 1988, Ann. Stat. 16, 927). A bound is the more
careful of that one and Student's: the first knows skewed differences, the second few that are not
zero. Unlike the tests of `outcomes` this is no exact test; docs/gate.md says how often it errs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
import numpy.typing as npt

from mmrlhf_api.steps.gate_rules import FEWEST

__all__ = ["MeanBounds", "bound_mean", "queries_for_effect"]

_AT_ONCE: Final = 2**22
"""Numbers in one block of resamples."""


@dataclass(frozen=True)
class MeanBounds:
    """A mean over queries with one-sided bounds, in the unit of the values."""

    mean: float
    lower: float
    upper: float
    deviation: float


def bound_mean(
    values: npt.NDArray[np.float64], alpha: float, *, seed: int, resamples: int
) -> MeanBounds:
    """Bound the mean of values.

    Args:
        values: One a query, float64[Q], Q at least 2, finite.
        alpha: Error of each bound.
        seed: Of the resamples.
        resamples: How many there are.
    """
    n = len(values)
    mean = math.fsum(values) / n
    centred = values - mean
    deviation = float(np.sqrt(np.square(centred).sum() / (n - 1)))
    if deviation == 0.0 or deviation <= 1e-12 * abs(mean):  # all are equal, but for rounding
        return MeanBounds(mean, mean, mean, 0.0)
    error = deviation / math.sqrt(n)
    drawn = np.sort(_studentised(centred, seed, resamples))
    rank = math.floor(alpha * resamples)
    student = _student_quantile(1 - alpha, n - 1)
    high = max(float(drawn[resamples - 1 - rank]), student)
    low = min(float(drawn[rank]), -student)
    return MeanBounds(mean, mean - high * error, mean - low * error, deviation)


def queries_for_effect(effect: float, alpha: float, wanted: float) -> int:
    """Queries that show a mean difference with the wanted power, about.

    Args:
        effect: The mean in standard deviations of the differences.
        alpha: Error of the bound.
        wanted: The power.
    """
    normal = NormalDist()
    reach = normal.inv_cdf(1 - alpha) + normal.inv_cdf(wanted)
    return max(FEWEST, math.ceil((reach / effect) ** 2))


def _studentised(
    centred: npt.NDArray[np.float64], seed: int, resamples: int
) -> npt.NDArray[np.float64]:
    """Mean of each resample in its own standard errors, float64[resamples]."""
    n = len(centred)
    rng = np.random.default_rng(seed)
    found = []
    block = max(1, _AT_ONCE // n)
    for start in range(0, resamples, block):
        drawn = centred[rng.integers(n, size=(min(block, resamples - start), n))]
        means = drawn.mean(axis=1)
        errors = drawn.std(axis=1, ddof=1) / math.sqrt(n)
        errors[errors < 1e-9 * np.abs(centred).max()] = 0.0  # rounding of equal values
        with np.errstate(divide="ignore", invalid="ignore"):
            # A resample of one value alone: as far off as can be, or not at all.
            found.append(np.nan_to_num(means / errors, nan=0.0, posinf=np.inf, neginf=-np.inf))
    return np.concatenate(found)


def _student_quantile(share: float, freedom: int) -> float:
    """Quantile of Student's t (Abramowitz and Stegun 26.7.5); to 1e-5 from 20 degrees on."""
    x = NormalDist().inv_cdf(share)
    terms: tuple[float, ...] = (
        x,
        (x**3 + x) / 4,
        (5 * x**5 + 16 * x**3 + 3 * x) / 96,
        (3 * x**7 + 19 * x**5 + 17 * x**3 - 15 * x) / 384,
        (79 * x**9 + 776 * x**7 + 1482 * x**5 - 1920 * x**3 - 945 * x) / 92160,
    )
    return math.fsum(term / freedom**power for power, term in enumerate(terms))
