from __future__ import annotations

import math
from itertools import product

import pytest
from scipy.stats import kendalltau

from mmrlhf_jobs.annotation.agreement import kendall_tau, krippendorff_alpha

# The example of Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), part C: four
# observers, twelve units, some not judged. Its ordinal alpha is 0.815.
_OBSERVERS = (
    (1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None),
    (1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3),
    (None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None),
    (1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None),
)


def test_tau_is_that_of_scipy() -> None:
    rankings = list(product(range(1, 4), repeat=3))
    for first, second in product(rankings, rankings):
        mine, oracle = kendall_tau(first, second), kendalltau(first, second).statistic
        if mine is None:
            assert math.isnan(oracle)
        else:
            assert mine == pytest.approx(oracle)


def test_alpha_is_that_of_the_published_example() -> None:
    units = [[value for value in unit if value] for unit in zip(*_OBSERVERS, strict=True)]
    assert krippendorff_alpha(units) == pytest.approx(0.815, abs=5e-4)


def test_alpha_is_none_without_anything_to_compare() -> None:
    assert krippendorff_alpha([]) is None
    assert krippendorff_alpha([[1], [2]]) is None
    assert krippendorff_alpha([[3, 3], [3, 3]]) is None
