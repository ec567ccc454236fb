"""The arithmetic of the paper's Table 1, and of evenness."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmrlhf_jobs.data.records import Category
from mmrlhf_jobs.sampling.selection.quotas import plan_quotas
from mmrlhf_jobs.sampling.selection.statistics import (
    PAPER_SHARES_IN,
    PAPER_TABLE_1,
    effective_clusters,
    gini,
    make_statistics,
    paper_deviation,
    plain_counts,
)


def paper_corpus(clusters: int = 100) -> dict[Category, tuple[int, ...]]:
    """Ten million rows in the paper's shares, over clusters as uneven as 1/rank."""
    weights = np.array([1 / (rank + 1) for rank in range(clusters)])
    corpus: dict[Category, tuple[int, ...]] = {}
    for place, (name, share) in enumerate(PAPER_SHARES_IN.items()):
        total = round(10_000_000 * share)
        # Types favour different clusters.
        rolled = np.roll(weights, 31 * place)
        counts = np.floor(total * rolled / rolled.sum()).astype(int)
        counts[0] += total - counts.sum()
        corpus[name] = tuple(int(count) for count in counts)
    return corpus


def test_the_papers_shares_go_in_and_its_ratio_comes_out() -> None:
    available = paper_corpus()
    quotas = plan_quotas(available, target=23_763, shares={"long": 4, "short": 5, "mcq": 1})
    found = make_statistics(available, quotas)
    shares_in = {name: round(100 * one.share_in, 2) for name, one in found.types.items()}
    assert shares_in == {"long": 12.17, "short": 83.69, "mcq": 4.14}  # the paper's add up to 99.99
    shares_out = {name: round(10 * one.share_out, 3) for name, one in found.types.items()}
    assert shares_out == {"long": 4.0, "short": 5.0, "mcq": 1.0}
    assert all(one.deviation == 0 and one.missing == 0 for one in found.types.values())
    assert found.evenness_out.gini < found.evenness_in.gini


def test_the_papers_own_table_against_its_ratio() -> None:
    assert sum(PAPER_TABLE_1.values()) == 29_997
    rows = paper_deviation()
    assert {name: (there, exact) for name, (there, exact, _) in rows.items()} == {
        "long": (9_575, 9_505),
        "short": (12_063, 11_882),
        "mcq": (2_125, 2_376),
    }
    deviations = {name: f"{100 * off:+.1f}%" for name, (_, _, off) in rows.items()}
    assert deviations == {"long": "+0.7%", "short": "+1.5%", "mcq": "-10.6%"}


def test_the_same_number_from_every_cluster_falls_short_where_levels_do_not() -> None:
    """What the paper's one N = T / 100 gives on uneven clusters."""
    available: dict[Category, tuple[int, ...]] = {
        "mcq": (1,) * 50 + (20,) * 30 + (400,) * 20,
    }
    quotas = plan_quotas(available, target=2_376, shares={"mcq": 1})
    found = make_statistics(available, quotas).types["mcq"]
    assert found.selected == 2_376
    assert found.plain == sum(plain_counts(available["mcq"], 2_376)) == 50 + 30 * 20 + 20 * 23
    assert found.plain_deviation == pytest.approx(found.plain / 2_376 - 1)
    assert found.saturated == 80
    assert found.level == (2_376 - 50 - 600) // 20


@given(st.lists(st.integers(0, 50), min_size=1, max_size=30))
def test_evenness_against_definitions(counts: list[int]) -> None:
    total = sum(counts)
    if total == 0:
        assert gini(counts) == effective_clusters(counts) == 0
        return
    differences = sum(abs(a - b) for a in counts for b in counts)
    assert gini(counts) == pytest.approx(differences / (2 * len(counts) * total), abs=1e-12)
    product = math.prod((count / total) ** (-count / total) for count in counts if count)
    assert effective_clusters(counts) == pytest.approx(product)


def test_a_shortfall_shows_in_the_statistics() -> None:
    available: dict[Category, tuple[int, ...]] = {"long": (9, 0), "short": (50, 50), "mcq": (0, 0)}
    quotas = plan_quotas(
        available, target=20, shares={"long": 4, "short": 5, "mcq": 1}, shortfall="accept"
    )
    found = make_statistics(available, quotas)
    assert (found.types["mcq"].missing, found.types["mcq"].deviation) == (2, -1)
    assert found.types["long"].saturated == 0
    assert found.types["long"].level >= 8
    assert found.to_dict()["types"]["short"]["selected"] == 10
