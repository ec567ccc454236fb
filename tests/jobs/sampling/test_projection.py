"""UMAP itself, apart from the quick tests: it compiles for half a minute when it runs first."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mmrlhf_jobs.sampling.report.projection import project


def test_the_map_keeps_clusters_apart_and_is_a_function_of_its_seed() -> None:
    rng = np.random.default_rng(0)
    centres = np.eye(3, 32, dtype=np.float32)
    vectors = np.repeat(centres, 20, axis=0) + rng.normal(0, 0.02, (60, 32)).astype(np.float32)
    points = project(vectors, seed=1)
    assert points.shape == (60, 2)
    assert np.array_equal(points, project(vectors, seed=1))
    groups = points.reshape(3, 20, 2)
    middles = groups.mean(axis=1)
    within = np.abs(groups - middles[:, None]).max()
    between = min(np.linalg.norm(middles[a] - middles[b]) for a, b in ((0, 1), (0, 2), (1, 2)))
    assert between > within


def test_vectors_that_are_all_the_same_have_places() -> None:
    assert np.isfinite(project(np.full((20, 4), 0.5, np.float32), seed=0)).all()


def test_nothing_that_takes_long_is_compiled_in_the_next_process() -> None:
    project(np.eye(20, dtype=np.float32), seed=0)
    from umap import layouts, umap_, utils

    for function in (
        utils.fast_knn_indices,
        umap_.smooth_knn_dist,
        umap_.compute_membership_strengths,
        layouts._get_optimize_layout_euclidean_single_epoch_fn(parallel=False),
    ):
        kept = sum(function.stats.cache_hits.values())
        made = sum(function.stats.cache_misses.values())
        assert kept + made == len(function.signatures) > 0, function
        assert function.stats.cache_path, f"{function} is not kept"
        folder = Path(function.stats.cache_path)
        assert list(folder.glob(f"*{function.py_func.__name__}-*.nbi")), function
        # An image is built on one machine, and its pods run on others.
        (made, *_) = function.overloads.values()
        assert made.library.codegen.magic_tuple()[1:] == ("generic", "")
