from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import faiss
import numpy as np
import pytest

from mmrlhf_jobs.errors import DataError, InputError, StorageError
from mmrlhf_jobs.sampling.clustering import kmeans, points
from mmrlhf_jobs.sampling.clustering.assignment import assign
from mmrlhf_jobs.sampling.clustering.centres import Centres, Metric
from mmrlhf_jobs.sampling.clustering.grid import Floats, Vectors
from mmrlhf_jobs.sampling.clustering.kmeans import Fit, KMeans
from mmrlhf_jobs.sampling.clustering.points import open_bucket
from mmrlhf_jobs.sampling.clustering.seeding import first_centres
from mmrlhf_jobs.sampling.corpora.media import DroppedMedia
from mmrlhf_jobs.sampling.images.pictures import open_picture
from tests.unit.sampling.pictures import GO_IMAGES, photographs
from tests.unit.sampling.vectors import blobs, save_points, unit

METRICS: list[Metric] = ["cosine", "euclidean"]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Blocks of 64 rows, or of as many as a test asks for."""

    def use(rows: int) -> None:
        monkeypatch.setattr(points, "BLOCK_ROWS", rows)
        monkeypatch.setattr(kmeans, "BLOCK_ROWS", rows)

    use(64)
    return use


@dataclass
class Together:
    """Some threads as the processes of one job; their arrays are added in the order they come."""

    world_size: int
    rank: int = 0
    shared: list[Floats] = field(default_factory=list)
    gate: threading.Barrier = field(default_factory=lambda: threading.Barrier(1))

    def sum_array(self, values: Floats) -> Floats:
        self.gate.wait()
        self.shared.append(values)
        self.gate.wait()
        total: Floats = sum(self.shared[-self.world_size :], np.zeros_like(values))
        return total


def together(size: int, run: Callable[[Together], Fit]) -> list[Fit]:
    shared: list[Floats] = []
    gate = threading.Barrier(size)
    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(run, [Together(size, rank, shared, gate) for rank in range(size)]))


def scalar_lloyd(rows: Vectors, centres: Vectors, metric: Metric, iterations: int) -> Vectors:
    """The oracle: float64 from the start, one row at a time, without blocks or kept labels."""
    middles = centres.astype(np.float64)
    for _ in range(iterations):
        middles = middles.astype(np.float32).astype(np.float64)
        sums, counts = np.zeros_like(middles), np.zeros(len(middles))
        for row in rows.astype(np.float64):
            if metric == "cosine":
                label = int((middles @ row).argmax())
            else:
                label = int(((middles - row) ** 2).sum(axis=1).argmin())
            sums[label] += row
            counts[label] += 1
        assert counts.all()
        middles = sums / counts[:, None]
        if metric == "cosine":
            middles /= np.linalg.norm(middles, axis=1, keepdims=True)
    return middles.astype(np.float32)


@pytest.mark.parametrize("metric", METRICS)
def test_centres_are_those_of_a_scalar_loop(tmp_path: Path, metric: Metric) -> None:
    rows = blobs(700, 40, blobs=8, noise=0.2)
    start = rows[:11]
    how = KMeans(metric, iterations=6, tolerance=0)
    fit = Fit(Centres(start, metric)).run(save_points(tmp_path, rows, cuts=[100, 333]), how)
    expected = scalar_lloyd(rows, start, metric, 6)
    assert np.abs(fit.centres.vectors - expected).max() < 1e-7
    assert not np.allclose(scalar_lloyd(rows, start, metric, 5), expected, atol=1e-5)


@pytest.mark.parametrize("metric", METRICS)
def test_centres_are_those_of_faiss(tmp_path: Path, metric: Metric) -> None:
    rows = blobs(3_000, 64, blobs=20, noise=0.15)
    start = first_centres(save_points(tmp_path, rows), 16, 0)
    how = KMeans(metric, iterations=8, tolerance=0)
    fit = Fit(Centres(start, metric)).run(save_points(tmp_path, rows), how)
    peer = faiss.Kmeans(
        64,
        16,
        niter=8,
        spherical=metric == "cosine",
        min_points_per_centroid=1,
        max_points_per_centroid=10**6,
    )
    peer.train(rows, init_centroids=start)
    assert np.abs(fit.centres.vectors - np.asarray(peer.centroids)).max() < 1e-5
    # faiss: sums of squared distances, or of products.
    found = np.asarray(peer.obj)
    series = 2 * (3_000 - found) if metric == "cosine" else found
    assert np.allclose(fit.inertia, series, rtol=1e-4)


def real_patches(side: int = 16) -> Vectors:
    """Squares of photographs and of pictures of a Debian package, without their mean colour."""
    files = list(photographs().values())
    files += [path.read_bytes() for path in sorted(GO_IMAGES.rglob("video-*.png"))]
    patches = []
    for content in files:
        try:
            pixels = np.asarray(open_picture(content, "image").pixels, np.float64)
        except DroppedMedia:
            continue
        down, right = (edge // side for edge in pixels.shape[:2])
        squares = pixels[: down * side, : right * side].reshape(down, side, right, side, 3)
        patches.append(squares.swapaxes(1, 2).reshape(down * right, -1))
    rows = np.concatenate(patches)
    rows -= rows.mean(axis=0)
    return unit(rows[np.linalg.norm(rows, axis=1) > 1])


def test_on_real_pictures_the_inertia_is_that_of_faiss(
    tmp_path: Path, small_blocks: Callable[[int], None]
) -> None:
    small_blocks(4096)
    rows = real_patches()
    assert len(rows) > 5_000
    found = save_points(tmp_path, rows)
    start = first_centres(found, 100, 0)
    fit = Fit(Centres(start, "cosine")).run(found, KMeans(iterations=20, tolerance=0))
    peer = faiss.Kmeans(
        rows.shape[1],
        100,
        niter=20,
        spherical=True,
        min_points_per_centroid=1,
        max_points_per_centroid=len(rows),
    )
    peer.train(rows, init_centroids=start)

    def inertia(centres: Floats) -> float:
        return float((2 - 2 * (rows.astype(np.float64) @ centres.T).max(axis=1)).sum())

    ours, theirs = (
        inertia(np.asarray(each, np.float64)) for each in (fit.centres.vectors, peer.centroids)
    )
    assert abs(ours / theirs - 1) < 1e-3
    assert ours < 0.9 * inertia(start.astype(np.float64)), "nothing was learned"


@pytest.mark.parametrize("batch", [None, 256])
@pytest.mark.parametrize("metric", METRICS)
def test_the_same_bytes_for_any_division_of_the_work(
    tmp_path: Path,
    small_blocks: Callable[[int], None],
    metric: Metric,
    batch: int | None,
) -> None:
    rows = blobs(1_000, 24, blobs=30, noise=0.2)
    start = Centres(rows[:13], metric)
    how = KMeans(metric, iterations=7, tolerance=0, batch_rows=batch)
    found = save_points(tmp_path / "one", rows)
    alone = Fit(start).run(found, how, threads=1)

    def same(other: Fit) -> bool:
        return (
            other.centres.vectors.tobytes() == alone.centres.vectors.tobytes()
            and other.inertia == alone.inertia
        )

    assert same(Fit(start).run(found, how, threads=3))
    for size in (2, 4, 7):
        fits = together(size, lambda ranks: Fit(start).run(found, how, ranks=ranks, threads=2))
        assert all(map(same, fits))
    small_blocks(256 if batch else 117)
    assert same(Fit(start).run(found, how, threads=2))
    if batch is None:
        cut = save_points(tmp_path / "cut", rows, cuts=[1, 500])
        assert same(Fit(start).run(cut, how))
        turned = save_points(tmp_path / "turned", rows[::-1])
        assert same(Fit(start).run(turned, how))


@pytest.mark.parametrize("batch", [None, 128])
def test_an_interrupted_fit_goes_on_to_the_same_bytes(tmp_path: Path, batch: int | None) -> None:
    rows = blobs(640, 16, blobs=10, noise=0.3)
    found, start = save_points(tmp_path, rows), Centres(rows[:9], "cosine")
    how = KMeans(iterations=9, tolerance=0, batch_rows=batch)
    saved: list[Fit] = []
    whole = Fit(start).run(found, how, save=saved.append)
    assert len(saved) == 9
    for state in saved[:-1]:
        again = state.run(found, how)
        assert again.centres.vectors.tobytes() == whole.centres.vectors.tobytes()
        assert again.inertia == whole.inertia


def test_it_stops_when_the_inertia_stands_still(tmp_path: Path) -> None:
    rows = blobs(500, 16, blobs=5, noise=0.05)
    found = save_points(tmp_path, rows)
    fit = Fit(Centres(rows[:5], "cosine")).run(found, KMeans(iterations=100, tolerance=1e-3))
    assert fit.converged
    assert 1 < fit.iterations == len(fit.inertia) < 100
    gains = -np.diff(fit.inertia) / np.array(fit.inertia[:-1])
    assert gains[-1] <= 1e-3 < gains[:-1].min(initial=1)
    # The centres are those of the last inertia.
    labels = assign(rows, fit.centres)
    distances = fit.centres.distances(rows, labels)
    assert 2 * distances.sum() == pytest.approx(fit.inertia[-1], rel=1e-5)
    assert fit.run(found, KMeans(iterations=100)) is fit


def test_mini_batches_come_close_to_all_rows(tmp_path: Path) -> None:
    rows = blobs(6_400, 32, blobs=12, noise=0.15)[np.random.default_rng(1).permutation(6_400)]
    found = save_points(tmp_path, rows)
    start = Centres(first_centres(found, 12, 0), "cosine")
    full = Fit(start).run(found, KMeans(iterations=20))
    some = Fit(start).run(found, KMeans(iterations=20, batch_rows=640))
    assert some.iterations == 20
    assert some.counts.sum() == 20 * 640

    def inertia(fit: Fit) -> float:
        return float(fit.centres.distances(rows, assign(rows, fit.centres)).sum())

    assert inertia(some) < 1.02 * inertia(full)
    assert inertia(some) < 0.98 * inertia(Fit(start))


@pytest.mark.parametrize("metric", METRICS)
def test_empty_clusters_take_half_of_the_largest(tmp_path: Path, metric: Metric) -> None:
    rows = unit(np.array([[1, 0.1], [1, -0.1], [1, 0.2], [1, -0.2], [0, 1.0], [0.1, 1]]))
    start = Centres(unit(np.array([[1, 0], [-1, -1], [0, 1.0]])), metric)
    # -1 -1 is nearest to no row.
    fit = Fit(start).run(save_points(tmp_path, rows), KMeans(metric, iterations=9, tolerance=0.9))
    assert fit.iterations > 2, "an empty cluster is no reason to stop"
    labels = assign(rows, fit.centres).tolist()
    assert len(set(labels)) == 3
    assert labels[4] == labels[5] == 2


def test_fewer_different_rows_than_centres_leave_clusters_empty(tmp_path: Path) -> None:
    rows = np.repeat(unit(np.eye(3)), 4, axis=0)
    found = save_points(tmp_path, rows)
    fit = Fit(Centres(first_centres(found, 6, 0), "cosine")).run(found, KMeans(iterations=5))
    labels = assign(rows, fit.centres)
    assert len(set(labels.tolist())) == 3
    assert np.isfinite(fit.centres.vectors).all()
    assert fit.inertia[-1] == pytest.approx(0, abs=1e-4)


def test_a_sum_of_zero_keeps_its_centre() -> None:
    start = Centres(unit(np.eye(2)), "cosine")
    moved = start.updated(np.array([[0.0, 0.0], [3.0, 4.0]]), np.array([2.0, 5.0]))
    assert moved.vectors.tolist() == [[1, 0], [np.float32(0.6), np.float32(0.8)]]


@pytest.mark.parametrize(("place", "value"), [(70, np.nan), (0, 2.0), (999, 2.0**-30)])
def test_a_row_that_is_no_such_vector_is_named(tmp_path: Path, place: int, value: float) -> None:
    rows = blobs(1_000, 8, blobs=3)
    rows[place, 3] = value
    found = save_points(tmp_path, rows, cuts=[50])
    file, row = (0, place + 1) if place < 50 else (1, place - 49)
    with pytest.raises(DataError, match=rf"/{file}.npy, row {row}: the vector is not finite, not"):
        Fit(Centres(rows[1:3], "cosine")).run(found, KMeans())


def test_buckets_of_half_precision_are_read_exactly(tmp_path: Path) -> None:
    rows = blobs(200, 32, blobs=3).astype(np.float16).astype(np.float32)
    single = save_points(tmp_path / "single", rows)
    half = save_points(tmp_path / "half", rows, dtype="f2")
    fits = [Fit(Centres(rows[:3], "cosine")).run(one, KMeans()) for one in (single, half)]
    assert fits[0].centres.vectors.tobytes() == fits[1].centres.vectors.tobytes()


def test_bad_buckets_are_refused(tmp_path: Path) -> None:
    rows = blobs(100, 8, blobs=3)
    found = save_points(tmp_path, rows)
    path = found.buckets[0].path
    with path.open("rb+") as file:
        file.truncate(path.stat().st_size - 4)
    with pytest.raises(StorageError, match="ends before row 100; make the bucket again"):
        Fit(Centres(rows[:3], "cosine")).run(found, KMeans())
    with pytest.raises(StorageError, match="ends too soon"):
        found.buckets[0].take(np.array([3, 99]))
    for content in (rows.astype("f8"), rows[0], np.asfortranarray(rows)):
        np.save(path, content)
        with pytest.raises(StorageError, match="expected rows of float32 or float16"):
            open_bucket(path, path)
    path.write_bytes(b"no array")
    with pytest.raises(StorageError, match="no readable bucket"):
        open_bucket(path, path)
    np.save(found.buckets[0].keys_path, np.zeros((99, 32), np.uint8))
    with pytest.raises(StorageError, match=r"holds uint8\[99, 32\]; expected uint8\[100, 32\]"):
        first_centres(found, 2, 0)


def test_points_that_cannot_be_clustered_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no vectors to cluster"):
        points.Points([])
    buckets = [
        save_points(tmp_path / str(width), blobs(9, width, blobs=2)).buckets[0] for width in (4, 8)
    ]
    with pytest.raises(InputError, match=r"different width cannot be clustered: \[4, 8\]"):
        points.Points(buckets)
    with pytest.raises(InputError, match=r"lower spec.clustering.batchRows"):
        Fit(Centres(blobs(2, 4, blobs=2), "cosine")).run(
            points.Points(buckets[:1]), KMeans(batch_rows=2**25, iterations=50)
        )
