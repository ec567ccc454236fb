"""First centres by k-means++ (Arthur and Vassilvitskii, 2007), the same ones on every machine."""

from __future__ import annotations

import hashlib
import math
from typing import Final

import numpy as np
import numpy.typing as npt

from mmrlhf_jobs.errors import InputError
from mmrlhf_jobs.sampling.clustering.grid import Vectors
from mmrlhf_jobs.sampling.clustering.points import Points

__all__ = ["first_centres", "keyed_sample"]

_SAMPLE_PER_CENTRE: Final = 128
_SAMPLE_LEAST: Final = 16_384
_SAMPLE_MOST: Final = 262_144
_MOST_DRAWN: Final = 4096
_TAKEN_ROWS: Final = 1024

_STEPS: Final = 2.0**11
"""Coordinates are rounded to 1 / 2048 for seeding: products of such vectors of length 1 are whole
numbers below 2^24, which float32 adds without rounding, so BLAS gives the same in any order."""


def first_centres(points: Points, count: int, seed: int) -> Vectors:
    """Choose rows as first centres, float32[count, D].

    They are drawn from a sample of rows, each with a probability in proportion to its squared
    distance from those chosen before; of a few drawn, the one is taken that leaves the least
    distance (greedy k-means++, as in scikit-learn). Above 4,096 centres the drawing would take
    longer than the clustering; then the first rows of the sample are taken.

    Raises:
        InputError: There are fewer rows than centres.
    """
    if count > points.rows:
        raise InputError(
            f"{points.rows} different media cannot make {count} clusters; lower"
            " spec.clustering.centres or add sources"
        )
    if count > _MOST_DRAWN:
        return keyed_sample(points, count, seed)
    size = min(max(_SAMPLE_PER_CENTRE * count, _SAMPLE_LEAST), _SAMPLE_MOST)
    sample = keyed_sample(points, size, seed)
    whole = sample * np.float32(_STEPS)
    return sample[_draw(np.rint(whole, out=whole), count, seed)]


def keyed_sample(points: Points, size: int, seed: int) -> Vectors:
    """Rows with the lowest keyed hashes, float32[size, D], lowest first; fewer if there are fewer.

    The hash is of the row's key, so the sample follows from content and seed. Keys are digests
    already, so mixing the seed into their first 64 bits is enough; rows of equal hash, one pair in
    billions, come in the order of the points.
    """
    hashes = np.empty(0, np.uint64)
    places = np.empty((0, 2), np.int64)
    for number, bucket in enumerate(points.buckets):
        found = _hash(bucket.keys(), seed)
        within = np.stack([np.full(len(found), number), np.arange(len(found))], axis=1)
        hashes = np.concatenate([hashes, found])
        places = np.concatenate([places, within])
        kept = np.argsort(hashes, kind="stable")[:size]
        hashes, places = hashes[kept], places[kept]
    sample = np.empty((len(places), points.width), np.float32)
    for number, bucket in enumerate(points.buckets):
        mine = np.flatnonzero(places[:, 0] == number)
        # A piece at a time: one bucket may hold the whole sample, which would be there twice.
        for some in np.array_split(mine, -(-len(mine) // _TAKEN_ROWS) or 1):
            sample[some] = bucket.take(places[some, 1])
    return sample


def _draw(sample: Vectors, count: int, seed: int) -> list[int]:
    """Places of the chosen rows; the sample holds whole numbers."""
    squares = np.einsum("nd,nd->n", sample, sample).astype(np.int64)
    trials = 2 + int(math.log(count))
    chosen = [0]  # The sample is in random order.
    nearest = _squared_distances(sample, squares, np.array([0]))[:, 0]
    for step in range(1, count):
        bounds = np.cumsum(nearest)
        total = int(bounds[-1])
        if total == 0:
            # All that is left equals a centre; such clusters stay empty or are split later.
            rest = np.setdiff1d(np.arange(len(sample)), chosen)
            return [*chosen, *rest[: count - step].tolist()]
        drawn = [_number(seed, step, trial) * total >> 64 for trial in range(trials)]
        places = np.searchsorted(bounds, np.array(drawn), side="right")
        left = np.minimum(nearest[:, None], _squared_distances(sample, squares, places))
        best = int(left.sum(axis=0).argmin())
        chosen.append(int(places[best]))
        nearest = np.ascontiguousarray(left[:, best])
    return chosen


def _squared_distances(
    sample: Vectors, squares: npt.NDArray[np.int64], places: npt.NDArray[np.integer]
) -> npt.NDArray[np.int64]:
    products = (sample @ sample[places].T).astype(np.int64)
    distances: npt.NDArray[np.int64] = squares[:, None] + squares[places] - 2 * products
    return distances


def _hash(keys: npt.NDArray[np.uint8], seed: int) -> npt.NDArray[np.uint64]:
    """Keyed hash of digests, uint64[N]: the seed, then the mixing steps of SplitMix64."""
    secret = np.uint64(_number(seed, 0, 0))
    mixed = keys[:, :8].copy().view("<u8")[:, 0] ^ secret
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    hashes: npt.NDArray[np.uint64] = mixed ^ (mixed >> np.uint64(31))
    return hashes


def _number(seed: int, step: int, trial: int) -> int:
    """A number of 64 bits that looks random and follows from its arguments."""
    text = f"k-means++ {seed} {step} {trial}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")
