from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mmrlhf_jobs.data.order import EpochOrder, keyed_permutation

blocks = st.lists(st.tuples(st.integers(0, 9), st.integers(1, 50)), min_size=1, max_size=12)


def make_order(shape: list[tuple[int, int]], *, seed: int = 0, epoch: int = 0) -> EpochOrder:
    usable, sizes = np.array(shape, np.int64).T
    return EpochOrder(usable, sizes, seed=seed, epoch=epoch, window_bytes=60)


def rows_of(order: EpochOrder) -> list[tuple[int, int]]:
    return [
        (int(block), int(row))
        for window in range(order.num_windows)
        for block, row in zip(*order.window_rows(window), strict=True)
    ]


@settings(deadline=None)
@given(blocks, st.integers(0, 2**64), st.integers(0, 3))
def test_an_epoch_is_a_permutation_of_all_rows(
    shape: list[tuple[int, int]], seed: int, epoch: int
) -> None:
    order = make_order(shape, seed=seed, epoch=epoch)
    everything = [(block, row) for block, (rows, _) in enumerate(shape) for row in range(rows)]
    assert sorted(rows_of(order)) == everything
    assert len(order) == len(everything)


@settings(deadline=None)
@given(blocks)
def test_windows_are_bounded_and_every_position_is_in_its_window(
    shape: list[tuple[int, int]],
) -> None:
    order = make_order(shape)
    met: list[int] = []
    for window in range(order.num_windows):
        inside, _ = order.window_rows(window)
        used = set(inside.tolist())
        assert sum(shape[block][1] for block in used) <= 60
        start = order.window_start(window)
        met += [start + offset for offset in range(len(inside))]
        assert all(order.window_of(start + offset) == window for offset in range(len(inside)))
    assert met == list(range(len(order)))


def test_a_block_larger_than_a_window_is_a_window_of_its_own() -> None:
    order = make_order([(3, 500), (2, 10), (4, 500)])
    assert order.num_windows == 3
    assert len(rows_of(order)) == 9


def test_seeds_and_epochs_give_different_orders_and_equal_ones_the_same() -> None:
    shape = [(9, 20)] * 10
    orders = {
        (seed, epoch): rows_of(make_order(shape, seed=seed, epoch=epoch))
        for seed in (0, 1)
        for epoch in (0, 1)
    }
    assert len({tuple(order) for order in orders.values()}) == 4
    assert rows_of(make_order(shape, seed=1, epoch=1)) == orders[1, 1]


def test_rows_within_a_block_are_shuffled_by_seed_epoch_and_window() -> None:
    order = make_order([(9, 60)] * 2)
    rows = [order.window_rows(window)[1].tolist() for window in (0, 1)]
    rows += [
        make_order([(9, 60)], seed=seed, epoch=epoch).window_rows(0)[1].tolist()
        for seed, epoch in ((1, 0), (0, 1))
    ]
    assert len(set(map(tuple, rows))) == 4


def test_rows_of_different_blocks_are_mixed_within_a_window() -> None:
    order = make_order([(9, 20)] * 3)
    inside = order.window_rows(0)[0].tolist()
    assert order.num_windows == 1
    assert sum(one != other for one, other in pairwise(inside)) > 9


def test_the_permutation_stays_the_same_over_releases() -> None:
    # A checkpoint is resumed by a later release: this must never change.
    assert keyed_permutation(8, "rows", 0, 0, 0).tolist() == [6, 2, 3, 1, 4, 0, 5, 7]
