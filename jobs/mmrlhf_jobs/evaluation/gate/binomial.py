"""Exact figures of binomial shares: tails, Clopper-Pearson bounds, and the pairs that a test needs.

All bounds are one-sided: each is wrong in at most a share `alpha` of all draws, for every number of
observations and every true share.
"""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

__all__ = ["lower_bound", "pairs_needed", "power", "tail", "upper_bound"]

_HALVINGS = 44
"""After these a bound is exact to 1e-13."""


def tail(successes: int, n: int, share: float) -> float:
    """The chance of at least this many successes in n draws of a true share."""
    if successes <= 0:
        return 1.0
    if share <= 0.0 or successes > n:
        return 0.0
    if share >= 1.0:
        return 1.0
    return min(1.0, float(_chances(n, share)[successes:].sum()))


@lru_cache(maxsize=65_536)
def lower_bound(successes: int, n: int, alpha: float) -> float:
    """Lower bound of a share (Clopper and Pearson 1934, Biometrika 26, 404); 0 of nothing."""
    if successes <= 0:
        return 0.0
    low, high = 0.0, successes / n
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if tail(successes, n, middle) <= alpha else (low, middle)
    return low


def upper_bound(successes: int, n: int, alpha: float) -> float:
    """Upper bound of a share; 1 of nothing."""
    return 1.0 - lower_bound(n - successes, n, alpha)


def power(n: int, share: float, alpha: float) -> float:
    """The chance that n decided pairs show a win rate above one half, if it truly is `share`."""
    if n == 0:
        return 0.0
    tails = np.cumsum(_chances(n, 0.5)[::-1])[::-1]
    passing = np.flatnonzero(tails <= alpha)
    return tail(int(passing[0]), n, share) if len(passing) else 0.0


@lru_cache(maxsize=256)
def pairs_needed(share: float, alpha: float, wanted: float) -> int:
    """The least number of decided pairs that show a win rate of `share` with the wanted power."""
    normal = NormalDist()
    reach = normal.inv_cdf(1 - alpha) / 2 + normal.inv_cdf(wanted) * math.sqrt(share * (1 - share))
    # The exact number lies a little above that of the normal distribution.
    n = max(1, int(0.9 * (reach / (share - 0.5)) ** 2))
    while power(n, share, alpha) < wanted:
        n += 1
    return n


def _chances(n: int, share: float) -> npt.NDArray[np.float64]:
    """The chance of each number of successes, float64[n + 1]."""
    k = np.arange(n + 1)
    logs = _log_factorials(n)
    ways = logs[n] - logs - logs[::-1]
    chances: npt.NDArray[np.float64] = np.exp(
        ways + k * math.log(share) + (n - k) * math.log1p(-share)
    )
    return chances


@lru_cache(maxsize=64)
def _log_factorials(n: int) -> npt.NDArray[np.float64]:
    logs = np.zeros(n + 1)
    np.cumsum(np.log(np.arange(1, n + 1)), out=logs[1:])
    return logs
