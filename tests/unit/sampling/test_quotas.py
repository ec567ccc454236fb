"""Quotas against an oracle that hands out one record at a time, and their properties."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmrlhf_jobs.data.records import Category
from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.sampling.selection.quotas import CATEGORIES, apportion, fill, plan_quotas

COUNTS = st.lists(st.integers(0, 40), min_size=1, max_size=9)
SHARES = st.dictionaries(
    st.sampled_from(CATEGORIES), st.sampled_from([0.1, 0.5, 1.0, 4.0, 5.0, 7.25]), min_size=1
)
IMAGES: dict[Category, float] = {"long": 4, "short": 5, "mcq": 1}


def fill_slowly(available: Sequence[int], target: int) -> list[int]:
    """Give one more to all that have spare, round by round; in the last round the richest first."""
    taken = [0] * len(available)
    while sum(taken) < min(target, sum(available)):
        left = target - sum(taken)
        open_ = [c for c, count in enumerate(available) if count > taken[c]]
        for cluster in sorted(open_, key=lambda c: (-available[c], c))[:left]:
            taken[cluster] += 1
    return taken


def apportion_slowly(total: int, shares: Mapping[Category, float]) -> dict[Category, int]:
    """Sainte-Lague from nothing, one seat at a time."""
    given_ = dict.fromkeys(shares, 0)
    for _ in range(total):
        best = max(
            shares,
            key=lambda n: (Fraction(shares[n]) / (2 * given_[n] + 1), -CATEGORIES.index(n)),
        )
        given_[best] += 1
    return given_


@given(COUNTS, st.integers(0, 400))
def test_filling_agrees_with_the_oracle_and_is_even(available: list[int], target: int) -> None:
    taken, level = fill(available, target)
    assert list(taken) == fill_slowly(available, target)
    assert sum(taken) == min(target, sum(available))
    assert all(0 <= took <= count for took, count in zip(taken, available, strict=True))
    open_ = [took for took, count in zip(taken, available, strict=True) if took < count]
    if open_:
        assert max(taken) - min(open_) <= 1
        assert {*open_} <= {level, level + 1}


@given(COUNTS, st.integers(0, 400))
def test_a_larger_target_takes_no_less_from_any_cluster(available: list[int], target: int) -> None:
    less, _ = fill(available, target)
    more, _ = fill(available, target + 1)
    assert all(a <= b for a, b in zip(less, more, strict=True))


@given(SHARES, st.integers(0, 300))
def test_apportionment_agrees_with_the_oracle(shares: dict[Category, float], total: int) -> None:
    found = apportion(total, shares)
    assert found == apportion_slowly(total, shares)
    assert sum(found.values()) == total


@given(SHARES, st.integers(0, 300))
def test_no_type_shrinks_when_the_total_grows(shares: dict[Category, float], total: int) -> None:
    less, more = apportion(total, shares), apportion(total + 1, shares)
    assert all(less[name] <= more[name] for name in shares)


def test_shares_of_a_large_total_are_exact() -> None:
    assert apportion(30_000, IMAGES) == {"long": 12_000, "short": 15_000, "mcq": 3_000}
    assert apportion(23_763, IMAGES) == {"long": 9_505, "short": 11_882, "mcq": 2_376}
    assert sum(apportion(2**53, IMAGES).values()) == 2**53


@given(
    st.fixed_dictionaries(dict.fromkeys(("long", "short", "mcq"), COUNTS)),
    st.integers(1, 400),
)
def test_shortfalls(available: dict[Category, list[int]], target: int) -> None:
    there = {name: sum(counts) for name, counts in available.items()}
    wanted = apportion(target, IMAGES)
    short = [name for name in wanted if there[name] < wanted[name]]
    accepted = plan_quotas(available, target=target, shares=IMAGES, shortfall="accept")
    assert accepted.targets == {n: min(there[n], wanted[n]) for n in wanted}
    scaled = plan_quotas(available, target=target, shares=IMAGES, shortfall="scaleAll")
    assert all(scaled.targets[name] <= there[name] for name in wanted)
    if not short:
        same = plan_quotas(available, target=target, shares=IMAGES)
        assert same.targets == wanted == scaled.targets
    else:
        # One record more, and the ratio cannot be kept.
        next_ = apportion(scaled.total + 1, IMAGES)
        assert any(count > there[name] for name, count in next_.items())
        with pytest.raises(DataError) as refused:
            plan_quotas(available, target=target, shares=IMAGES)
        for name in wanted:
            text = f"{there[name]} of {wanted[name]} {name}"
            assert (text in str(refused.value)) == (name in short)
        assert f"at most {scaled.total} can be chosen" in str(refused.value)


def test_types_without_a_share_are_not_picked() -> None:
    quotas = plan_quotas(
        {"long": [5], "video": [9]}, target=4, shares={"long": 1, "video": 0}, shortfall="fail"
    )
    assert quotas.by_cluster == {"long": (4,)}
