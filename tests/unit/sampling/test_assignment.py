from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmrlhf_jobs.sampling.clustering.assignment import assign
from mmrlhf_jobs.sampling.clustering.centres import Centres, Metric
from mmrlhf_jobs.sampling.clustering.grid import GRID, Vectors, is_on_grid, to_grid, tree_sum
from tests.unit.sampling.vectors import blobs, unit


def tree(values: list[float]) -> float:
    """The fixed order of sums, one number at a time."""
    while len(values) > 1:
        half = 1 << (len(values) - 1).bit_length() - 1
        values = [
            value + (values[half + place] if half + place < len(values) else 0.0)
            for place, value in enumerate(values[:half])
        ]
    return values[0]


def scalar_label(row: Vectors, centres: Centres) -> int:
    """The oracle: every score by a loop over float64 numbers, the lowest number of equal ones."""
    scores = []
    for centre in centres.vectors:
        score = tree([float(x) * float(c) for x, c in zip(row, centre, strict=True)])
        if centres.metric == "euclidean":
            score -= tree([float(c) ** 2 for c in centre]) / 2
        scores.append(score)
    return scores.index(max(scores))


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40))
def test_sums_are_those_of_one_order(values: list[float]) -> None:
    found = tree_sum(np.array(values))
    assert float(found) == tree(values)
    bound = 6 * 2**-53 * math.fsum(map(abs, values))
    assert abs(float(found) - math.fsum(values)) <= bound


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_sums_of_vectors_on_the_grid_have_no_rounding(dtype: type) -> None:
    rows = unit(np.random.default_rng(0).standard_normal((500, 7))).astype(dtype).astype("f4")
    exact = [sum((Fraction(float(x)) for x in column), Fraction()) for column in rows.T]
    assert [Fraction(float(x)) for x in rows.sum(axis=0, dtype=np.float64)] == exact


def test_rounding_to_the_grid_moves_numbers_by_half_a_step_at_most() -> None:
    rows = np.random.default_rng(1).standard_normal((200, 64))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rounded = to_grid(rows)
    assert np.abs(rounded - rows).max() <= GRID / 2
    assert is_on_grid(rounded).all()
    assert not is_on_grid(rounded * np.float32(1.01)).any()
    for bad in (np.nan, np.inf, 2.0**-25 + 2.0**-26):
        rounded[3, 5] = bad
        assert not is_on_grid(rounded)[3]


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_labels_are_those_of_a_scalar_loop(metric: Metric) -> None:
    rows = blobs(150, 33, blobs=6)
    centres = Centres(blobs(9, 33, blobs=9, seed=1), metric)
    if metric == "euclidean":
        scales = np.linspace(0.5, 1.0, 9, dtype=np.float32)
        centres = Centres(centres.vectors * scales[:, None], metric)
    expected = [scalar_label(row, centres) for row in rows]
    assert len(set(expected)) > 3
    assert assign(rows, centres).tolist() == expected


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_centres_too_near_for_float32_are_told_apart(metric: Metric) -> None:
    """Centres a step of float32 apart: BLAS decides many of these rows wrongly."""
    rows = blobs(300, 64, blobs=3)
    draw = np.random.default_rng(2)
    one = rows[0]
    near = np.stack(
        [np.nextafter(one, np.float32(1 - 2 * draw.integers(0, 2, 64)), dtype="f4") for _ in "abcd"]
    )
    centres = Centres(np.concatenate([near, rows[1:3]]), metric)
    expected = [scalar_label(row, centres) for row in rows]
    by_blas = (rows @ centres.vectors.T - centres.offsets.astype("f4")).argmax(axis=1)
    assert (by_blas != expected).sum() > 10
    assert assign(rows, centres).tolist() == expected


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_equal_centres_give_the_lowest_number(metric: Metric) -> None:
    rows = blobs(400, 16, blobs=4)
    centres = Centres(np.repeat(rows[:2], 20_000, axis=0)[::7], metric)
    labels = assign(rows, centres)
    assert set(labels.tolist()) == {0, math.ceil(20_000 / 7)}


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 300), st.integers(0, 5))
def test_labels_do_not_depend_on_neighbours(cut: int, seed: int) -> None:
    """BLAS takes other kernels for other shapes, and other bits come out of them."""
    rows = blobs(301, 48, blobs=5, seed=seed)
    base = rows[:30]
    centres = Centres(np.concatenate([base, np.nextafter(base, np.float32(2))]), "cosine")
    whole = assign(rows, centres)
    parts = [assign(rows[:cut], centres), assign(rows[cut:], centres)]
    assert np.concatenate(parts).tolist() == whole.tolist()
    assert assign(rows[::-1].copy(), centres)[::-1].tolist() == whole.tolist()


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_distances_and_inertia_are_those_of_the_definition(metric: Metric) -> None:
    rows = blobs(500, 24, blobs=5)
    vectors = rows[:4] if metric == "cosine" else rows[:4] * np.float32(0.75)
    centres = Centres(vectors, metric)
    labels = assign(rows, centres)
    exact = rows.astype("f8")
    middle = vectors.astype("f8")[labels]
    squares = ((exact - middle) ** 2).sum(axis=1)
    found = centres.distances(rows, labels)
    cosines = (exact * middle).sum(axis=1)
    expected = np.sqrt(squares) if metric == "euclidean" else np.maximum(1 - cosines, 0)
    assert np.allclose(found, expected, atol=1e-12)
    sums = np.stack([exact[labels == number].sum(axis=0) for number in range(4)])
    counts = np.bincount(labels, minlength=4).astype("f8")
    assert centres.inertia(sums, counts) == pytest.approx(squares.sum(), rel=1e-6)
