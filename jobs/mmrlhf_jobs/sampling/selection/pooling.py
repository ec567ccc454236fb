"""Pools: the candidates of a bucket of media, each once, with their clusters; and picks of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pyarrow.parquet as pq

from mmrlhf_jobs.data.identity import digest_of
from mmrlhf_jobs.data.records import Category
from mmrlhf_jobs.errors import StorageError
from mmrlhf_jobs.sampling.parts import Part, Parts
from mmrlhf_jobs.sampling.selection.joining import read_slice
from mmrlhf_jobs.sampling.selection.picks import cap_media, count, drop_duplicates, pick
from mmrlhf_jobs.sampling.selection.table import Candidates

__all__ = ["add_counts", "pick_pool", "pool_bucket", "read_pool"]

_POOL_FILE: Final = "pool.parquet"
_CLUSTERS_FILE: Final = "clusters.parquet"
_VERSION: Final = 1


def pool_bucket(
    clusters: Part,
    candidates: Sequence[Part],
    parts: Parts,
    *,
    count_clusters: int,
    max_per_media: int | None,
) -> Part:
    """Make the pool of a bucket, unless that is done already.

    Args:
        clusters: Clusters of the bucket's media, sorted by medium.
        candidates: Those of all blocks.
        parts: Those of this stage.
        count_clusters: Number of clusters.
        max_per_media: Most candidates that may stay of one medium.

    Returns:
        A part with the pool, the counts ``pooled``, ``drop:duplicate`` and ``capped``, and the fact
        ``available``: candidates of each type, one number a cluster.
    """
    made_from = digest_of(sorted(part.key for part in candidates)).hex()
    key = digest_of("pool", _VERSION, clusters.key, made_from, count_clusters, max_per_media).hex()
    if (done := parts.find(clusters.name, key)) is not None:
        return done
    with clusters.table(_CLUSTERS_FILE) as table:
        known = table.read()
    digests = np.array(known.column("sha256").to_pylist(), "S32")
    found = Candidates.join([])
    if len(digests):
        raw = known.column("sha256")
        first, last = raw[0].as_py(), raw[-1].as_py()
        found = Candidates.join([read_slice(part, first, last) for part in candidates])
    places = np.searchsorted(digests, found.media)
    if len(found) and (
        places.max() >= len(digests) or not np.array_equal(digests[places], found.media)
    ):
        raise StorageError(
            f"{clusters.uri}: lacks media that rows need; remove the run's work folder and run the"
            " job again"
        )
    labels = known.column("cluster").to_numpy()[places].astype(np.int32)
    distances = known.column("distance").to_numpy()[places].astype(np.float32)
    placed = Candidates(**{**vars(found), "cluster": labels, "distance": distances})
    unique = drop_duplicates(placed)
    kept = cap_media(unique, max_per_media)
    with parts.make(clusters.name, key) as draft:
        pq.write_table(kept.to_arrow(), draft.folder / _POOL_FILE)
        draft.counts |= {
            "pooled": len(kept),
            "drop:duplicate": len(placed) - len(unique),
            "capped": len(unique) - len(kept),
        }
        available = count(kept, count_clusters)
        draft.facts["available"] = {name: list(counts) for name, counts in available.items()}
    return parts.get(clusters.name, key)


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
        picked = pick(read_pool(pool), quotas)
        pq.write_table(picked.to_arrow(), draft.folder / _POOL_FILE)
        draft.count("picked", len(picked))
    return parts.get(pool.name, key)


def read_pool(part: Part) -> Candidates:
    """The candidates of a pool, or of the picks of one."""
    with part.table(_POOL_FILE) as table:
        return Candidates.from_arrow(table.read())
