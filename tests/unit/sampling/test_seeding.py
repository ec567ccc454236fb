from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from mmrlhf_jobs.errors import InputError
from mmrlhf_jobs.sampling.clustering import seeding
from mmrlhf_jobs.sampling.clustering.grid import Vectors
from mmrlhf_jobs.sampling.clustering.points import Bucket
from mmrlhf_jobs.sampling.clustering.seeding import first_centres, keyed_sample
from tests.unit.sampling.vectors import blobs, save_points


def scalar_draw(sample: Vectors, count: int, seed: int) -> list[int]:
    """The oracle: greedy k-means++ in whole numbers of Python, one row at a time."""
    rows = [[round(float(x) * 2048) for x in row] for row in sample]

    def squared(one: list[int], other: list[int]) -> int:
        return sum((x - y) ** 2 for x, y in zip(one, other, strict=True))

    chosen = [0]
    nearest = [squared(row, rows[0]) for row in rows]
    for step in range(1, count):
        best: tuple[int, int, list[int]] | None = None
        for trial in range(2 + int(np.log(count))):
            left = seeding._number(seed, step, trial) * sum(nearest) >> 64
            place = 0
            while left >= nearest[place]:
                left -= nearest[place]
                place += 1
            after = [
                min(n, squared(row, rows[place])) for n, row in zip(nearest, rows, strict=True)
            ]
            if best is None or sum(after) < best[0]:
                best = sum(after), place, after
        assert best is not None
        chosen.append(best[1])
        nearest = best[2]
    return chosen


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_rows_are_drawn_as_by_a_scalar_loop(tmp_path: Path, seed: int) -> None:
    rows = blobs(120, 32, blobs=6, seed=seed)
    points = save_points(tmp_path, rows)
    sample = keyed_sample(points, 1000, seed)
    assert sorted(map(bytes, sample)) == sorted(map(bytes, rows))
    expected = sample[scalar_draw(sample, 8, seed)]
    assert first_centres(points, 8, seed).tolist() == expected.tolist()
    assert first_centres(points, 8, seed + 10).tolist() != expected.tolist()


def test_the_sample_follows_from_content_alone_and_grows(tmp_path: Path) -> None:
    rows = blobs(900, 8, blobs=6)
    whole = keyed_sample(save_points(tmp_path / "a", rows), 200, 3)
    cut = keyed_sample(save_points(tmp_path / "b", rows, cuts=[1, 400, 401]), 200, 3)
    assert cut.tolist() == whole.tolist()
    more = keyed_sample(save_points(tmp_path / "a", rows), 300, 3)
    assert more[:200].tolist() == whole.tolist()
    other = keyed_sample(save_points(tmp_path / "a", rows), 200, 4)
    assert len({bytes(row) for row in whole} & {bytes(row) for row in other}) < 100


def test_one_bucket_with_all_of_the_sample_is_read_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, taken = blobs(900, 8, blobs=6), []
    found = save_points(tmp_path / "a", rows)
    whole = keyed_sample(found, 500, 3)
    take = Bucket.take

    def watched(bucket: Bucket, numbers: npt.NDArray[np.integer]) -> Vectors:
        taken.append(len(numbers))
        return take(bucket, numbers)

    monkeypatch.setattr(Bucket, "take", watched)
    monkeypatch.setattr(seeding, "_TAKEN_ROWS", 64)
    assert keyed_sample(found, 500, 3).tolist() == whole.tolist()
    assert sum(taken) == 500
    assert max(taken) <= 64


def test_the_sample_is_uniform(tmp_path: Path) -> None:
    """Tenths of the rows, by their keys, are all taken about as often."""
    rows = blobs(20_000, 4, blobs=6)
    points = save_points(tmp_path, rows)
    order = {bytes(row): place for place, row in enumerate(rows)}
    places = [order[bytes(row)] for row in keyed_sample(points, 5_000, 7)]
    tenths = np.bincount(np.array(places) // 2_000, minlength=10)
    assert abs(tenths - 500).max() < 5 * np.sqrt(500)


def test_every_blob_gets_a_centre(tmp_path: Path) -> None:
    rows = blobs(4_000, 64, blobs=40, noise=0.01)
    centres = first_centres(save_points(tmp_path, rows), 40, 0)
    assert ((rows @ centres.T).max(axis=1) > 0.9).all()


def test_equal_rows_do_not_stop_the_drawing(tmp_path: Path) -> None:
    rows = np.repeat(blobs(3, 8, blobs=3), 10, axis=0)
    centres = first_centres(save_points(tmp_path, rows), 12, 0)
    assert len(centres) == 12
    assert len(np.unique(centres, axis=0)) == len(np.unique(rows, axis=0))


def test_more_centres_than_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="3 different media cannot make 4 clusters; lower spec"):
        first_centres(save_points(tmp_path, blobs(3, 8, blobs=3)), 4, 0)


def test_very_many_centres_are_the_start_of_the_sample(tmp_path: Path) -> None:
    points = save_points(tmp_path, blobs(6_000, 4, blobs=3))
    assert first_centres(points, 5_000, 1).tolist() == keyed_sample(points, 5_000, 1).tolist()
