from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmrlhf_jobs.data.pairs import Pair, PairMode, form_pairs

ranks = st.lists(st.integers(1, 6), min_size=1, max_size=8)


@given(st.permutations(range(1, 9)), st.integers(2, 8))
def test_n_distinct_ranks_form_all_pairs(permutation: list[int], n: int) -> None:
    assert len(form_pairs(permutation[:n])) == n * (n - 1) // 2


@given(ranks)
def test_every_two_responses_form_a_pair_once_unless_tied(ranks: list[int]) -> None:
    pairs = form_pairs(ranks)
    differing = {
        frozenset((i, j)) for i in range(len(ranks)) for j in range(i) if ranks[i] != ranks[j]
    }
    assert sorted(map(sorted, differing)) == sorted(sorted(pair) for pair in pairs)
    assert all(ranks[pair.chosen] < ranks[pair.rejected] for pair in pairs)


@pytest.mark.parametrize(
    ("mode", "ranks", "expected"),
    [
        ("hardest", [4, 1, 2, 3], [Pair(1, 2)]),
        ("extremes", [4, 1, 2, 3], [Pair(1, 0)]),
        ("hardest", [1, 1, 3, 3], [Pair(0, 2)]),
        ("extremes", [3, 1, 1, 3], [Pair(1, 0)]),
        ("hardest", [1, 1], []),
        ("all", [1, 1], []),
    ],
)
def test_modes(mode: PairMode, ranks: list[int], expected: list[Pair]) -> None:
    assert list(form_pairs(ranks, mode)) == expected


def test_an_unknown_mode_is_an_error() -> None:
    with pytest.raises(ValueError, match="unknown pair mode"):
        form_pairs([1, 2], "worst")  # type: ignore[arg-type]
