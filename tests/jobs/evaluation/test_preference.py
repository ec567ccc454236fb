"""Agreement with the ranks, against a loop over hand-made pairs."""

from __future__ import annotations

import pytest
import torch

from mmrlhf_jobs.data.pairs import Pair
from mmrlhf_jobs.evaluation.preference import PreferenceTally

CATEGORIES = ("short", "long")


def tally() -> PreferenceTally:
    counted = PreferenceTally()
    counted.add(
        "short",
        policy=torch.tensor([-1.0, -2.0, -2.0]),
        reference=torch.tensor([-3.0, -2.5, -2.0]),
        pairs=[Pair(0, 1), Pair(0, 2), Pair(1, 2)],
    )
    counted.add(
        "long",
        policy=torch.tensor([-9.0, -5.0]),
        reference=torch.tensor([-9.0, -4.0]),
        pairs=[Pair(0, 1)],
    )
    return counted


def test_figures_are_those_of_a_loop() -> None:
    overall, by_category = PreferenceTally.scores(CATEGORIES, tally().vector(CATEGORIES))
    assert overall is not None
    # Pairs: +1, +1, a tie, -4; a tie is wrong.
    assert overall.pairs == 4
    assert overall.preference_accuracy == 0.5
    assert overall.preference_margin == pytest.approx((1 + 1 + 0 - 4) / 4)
    # Gains of the policy over the reference: 2, 0.5, 0; and 0, -1.
    assert overall.reward_accuracy == 1.0
    assert overall.reward_margin == pytest.approx((1.5 + 2 + 0.5 + 1) / 4)
    assert by_category["long"].preference_margin == -4.0


def test_parts_of_several_processes_add_up() -> None:
    one = tally().vector(CATEGORIES)
    both = [a + b for a, b in zip(one, one, strict=True)]
    single, _ = PreferenceTally.scores(CATEGORIES, one)
    double, _ = PreferenceTally.scores(CATEGORIES, both)
    assert single is not None
    assert double is not None
    assert double.pairs == 2 * single.pairs
    assert double.preference_accuracy == single.preference_accuracy


def test_nothing_to_count_is_no_score() -> None:
    overall, by_category = PreferenceTally.scores(CATEGORIES, PreferenceTally().vector(CATEGORIES))
    assert overall is None
    assert by_category == {}


def test_names_on_the_wire() -> None:
    overall, _ = PreferenceTally.scores(CATEGORIES, tally().vector(CATEGORIES))
    assert overall is not None
    assert set(overall.named("before")) == {
        "beforePairs",
        "beforePreferenceAccuracy",
        "beforePreferenceMargin",
        "beforeRewardAccuracy",
        "beforeRewardMargin",
    }
