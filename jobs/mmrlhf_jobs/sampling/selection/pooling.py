"""Pools: the candidates of a bucket of media, each once, with their clusters; and picks of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import pyarrow.parquet as pq

from mmrlhf_jobs.data.identity import digest_of
from mmrlhf_jobs.data.records import Category
from mmrlhf_jobs.errors import StorageError
from mmrlhf_jobs.sampling.parts import Part, Parts
from mmrlhf_jobs.sampling.selection.joining import read_slice, read_slice_media
from mmrlhf_jobs.sampling.selection.picks import cap_media, count, drop_duplicates, pick_all
from mmrlhf_jobs.sampling.selection.quotas import CATEGORIES
from mmrlhf_jobs.sampling.selection.table import SCHEMA, Candidates, Keys

__all__ = ["add_counts", "pick_pool", "pool_bucket", "read_pool"]

_POOL_FILE: Final = "pool.parquet"
_CLUSTERS_FILE: Final = "clusters.parquet"
_SLICE_ROWS: Final = 65_536
_VERSION: Final = 2


def pool_bucket(
    clusters: Part,
    candidates: Sequence[Part],
    parts: Parts,
    *,
    count_clusters: int,
    max_per_media: int | None,
    near: Callable[[], Sequence[Part]] | None = None,
) -> Part:
    """Make the pool of a bucket, unless that is done already.

    Args:
        clusters: Clusters of the bucket's media, sorted by medium.
        candidates: Those of all blocks.
        parts: Those of this stage.
        count_clusters: Number of clusters.
        max_per_media: Most candidates that may stay of one medium.
        near: Brings the same candidates to where opening them costs nothing: every bucket opens
            all of them. None: they are there.

    Returns:
        A part with the pool, the counts ``pooled``, ``drop:duplicate`` and ``capped``, and the fact
        ``available``: candidates of each type, one number a cluster.
    """
    made_from = digest_of(sorted(part.key for part in candidates)).hex()
    key = digest_of("pool", _VERSION, clusters.key, made_from, count_clusters, max_per_media).hex()
    if (done := parts.find(clusters.name, key)) is not None:
        return done
    here = candidates if near is None else near()
    with clusters.table(_CLUSTERS_FILE) as table:
        known = table.read()
    digests = np.array(known.column("sha256").to_pylist(), "S32")
    labels = known.column("cluster").to_numpy().astype(np.int32)
    distances = known.column("distance").to_numpy().astype(np.float32)
    total = {name: np.zeros(count_clusters, np.int64) for name in CATEGORIES}
    with parts.make(clusters.name, key) as draft:
        draft.counts |= {"pooled": 0, "drop:duplicate": 0, "capped": 0}
        with pq.ParquetWriter(draft.folder / _POOL_FILE, SCHEMA) as writer:
            for some in _slices(clusters, digests, here):
                ends = _ends(digests[some])
                found = Candidates.join([read_slice(part, *ends) for part in here])
                places = np.searchsorted(digests, found.media)
                placed = replace(found, cluster=labels[places], distance=distances[places])
                unique = drop_duplicates(placed)
                kept = cap_media(unique, max_per_media)
                writer.write_table(kept.to_arrow(), row_group_size=max(len(kept), 1))
                draft.count("pooled", len(kept))
                draft.count("drop:duplicate", len(placed) - len(unique))
                draft.count("capped", len(unique) - len(kept))
                for name, counts in count(kept, count_clusters).items():
                    total[name] += counts
        draft.facts["available"] = {name: counts.tolist() for name, counts in total.items()}
    return parts.get(clusters.name, key)


def _slices(clusters: Part, digests: Keys, candidates: Sequence[Part]) -> Iterator[slice]:
    """Neighbouring media of a bucket that together have about :data:`_SLICE_ROWS` candidates.

    A bucket has as many media as any other, but a few media may have most of the rows.
    """
    if not len(digests):
        return
    counts = np.zeros(len(digests), np.int64)
    for part in candidates:
        media = read_slice_media(part, *_ends(digests))
        places = np.minimum(np.searchsorted(digests, media), len(digests) - 1)
        if not np.array_equal(digests[places], media):
            raise StorageError(
                f"{clusters.uri}: lacks media that rows need; remove the run's work folder and run"
                " the job again"
            )
        counts += np.bincount(places, minlength=len(digests))
    # A new slice begins where the sum passes a multiple.
    number = np.cumsum(counts) // _SLICE_ROWS
    starts = np.flatnonzero(np.diff(number, prepend=-1))
    for start, stop in itertools.pairwise([*starts.tolist(), len(digests)]):
        yield slice(start, stop)


def _ends(digests: Keys) -> tuple[bytes, bytes]:
    """The first and the last of some; NumPy takes zeros off their ends."""
    first, last = (bytes(digests[place]).ljust(32, b"\0") for place in (0, -1))
    return first, last


def add_counts(pools: Sequence[Part]) -> dict[Category, tuple[int, ...]]:
    """Candidates of each type over all pools, one number a cluster."""
    total: dict[Category, tuple[int, ...]] = {}
    for pool in pools:
        for name, counts in pool.facts["available"].items():
            before = total.get(name, (0,) * len(counts))
            total[name] = tuple(a + b for a, b in zip(before, counts, strict=True))
    return total


def pick_pool(pool: Part, parts: Parts, quotas: Mapping[Category, tuple[int, ...]]) -> Part:
    """Pick of one pool what all pools together could give, unless that is done already."""
    key = digest_of("picks", _VERSION, pool.key, {k: list(v) for k, v in quotas.items()}).hex()
    if (done := parts.find(pool.name, key)) is not None:
        return done
    with parts.make(pool.name, key) as draft:
        picked = pick_all(read_pool(pool), quotas)
        pq.write_table(picked.to_arrow(), draft.folder / _POOL_FILE)
        draft.count("picked", len(picked))
    return parts.get(pool.name, key)


def read_pool(part: Part) -> Iterator[Candidates]:
    """The candidates of a pool, or of the picks of one, in pieces."""
    with part.table(_POOL_FILE) as table:
        for group in range(table.num_row_groups):
            yield Candidates.from_arrow(table.read_row_group(group))
