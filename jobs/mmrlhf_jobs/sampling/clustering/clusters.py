"""The cluster stage: centres of all vectors, and the cluster of each."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmrlhf_jobs.data.identity import digest_of
from mmrlhf_jobs.sampling.clustering.assignment import assign
from mmrlhf_jobs.sampling.clustering.centres import Centres
from mmrlhf_jobs.sampling.clustering.kmeans import Fit, KMeans
from mmrlhf_jobs.sampling.clustering.points import BLOCK_ROWS, Bucket, Points
from mmrlhf_jobs.sampling.clustering.seeding import first_centres
from mmrlhf_jobs.sampling.parts import Part, Parts

__all__ = ["CENTRES_FILE", "CLUSTERS_FILE", "CLUSTERS_SCHEMA", "assign_bucket", "find_centres"]

CENTRES_FILE: Final = "centroids.npy"
CLUSTERS_FILE: Final = "clusters.parquet"
CLUSTERS_SCHEMA: Final = pa.schema(
    [("sha256", pa.binary(32)), ("cluster", pa.int32()), ("distance", pa.float32())]
)
"""One row for each medium of a bucket, in the order of the bucket. The distance is ``1 - cos`` for
cosine and that of the two points for euclidean."""

_VERSION: Final = 1
_CENTRES: Final = "centres"
_STATE: Final = "fit.npz"
_SAVE_SECONDS: Final = 30.0


def find_centres(
    points: Points,
    count: int,
    how: KMeans,
    parts: Parts,
    *,
    seed: int,
    data: str,
    ranks: Any,  # noqa: ANN401 - a Runtime; its module brings torch
    threads: int | None = None,
    tell: Callable[[int, float], None] = lambda _iteration, _inertia: None,
    save_seconds: float = _SAVE_SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> Part:
    """Cluster, unless that is done already; every process calls this.

    A run that was killed goes on from the last iteration that was saved, to the same bytes.

    Args:
        points: All vectors.
        count: Number of centres.
        how: How to cluster.
        parts: Those of this stage.
        seed: Seed of the first centres.
        data: Digest of the vectors.
        ranks: The processes of the job.
        threads: Threads of this process.
        tell: Told the number of each iteration and its inertia.
        save_seconds: How often to save.
        clock: Seconds.

    Returns:
        A part with :data:`CENTRES_FILE` (float32[K, D]) and the facts ``rows``, ``iterations``,
        ``inertia`` (at the start of each iteration), ``converged``, ``metric`` and ``sha256``.

    Raises:
        InputError: There are fewer vectors than centres, and so on.
        DataError: A vector is damaged.
    """
    settings = [how.metric, how.iterations, how.tolerance, how.batch_rows]
    key = digest_of("centres", _VERSION, data, count, settings, seed).hex()
    done: str | None = ranks.on_main(lambda: _uri(parts.find(_CENTRES, key)))
    if done is not None:
        return parts.at(done, _CENTRES)
    fit: Fit = ranks.on_main(
        lambda: (
            _saved(parts, key, how) or Fit(Centres(first_centres(points, count, seed), how.metric))
        )
    )
    saved = clock()

    def keep(state: Fit) -> None:
        nonlocal saved
        if ranks.rank != 0:
            return
        tell(state.iterations, state.inertia[-1])
        if clock() - saved >= save_seconds:
            _save(parts, key, state)
            saved = clock()

    fit = fit.run(points, how, ranks=ranks, threads=threads, save=keep)

    def publish() -> str:
        with parts.make(_CENTRES, key) as draft:
            np.save(draft.folder / CENTRES_FILE, fit.centres.vectors)
            draft.facts |= {
                "rows": points.rows,
                "batch_rows": how.batch_rows,
                "iterations": fit.iterations,
                "inertia": list(fit.inertia),
                "converged": fit.converged,
                "metric": how.metric,
                "sha256": hashlib.sha256(fit.centres.vectors.tobytes()).hexdigest(),
            }
        return parts.get(_CENTRES, key).uri

    return parts.at(ranks.on_main(publish), _CENTRES)


def _uri(part: Part | None) -> str | None:
    return None if part is None else part.uri


def assign_bucket(name: str, bucket: Bucket, key: str, centres: Centres, parts: Parts) -> Part:
    """Find the cluster of each row of a bucket, unless that is done already.

    Args:
        name: Name of the part.
        bucket: The rows.
        key: Digest of the bucket's content.
        centres: The centres.
        parts: Those of this stage.

    Returns:
        A part with :data:`CLUSTERS_FILE` and the count ``rows``.

    Raises:
        StorageError: The store or the disk fails.
    """
    of_centres = hashlib.sha256(centres.vectors.tobytes()).hexdigest()
    whole = digest_of("clusters", _VERSION, key, of_centres, centres.metric).hex()
    if (done := parts.find(name, whole)) is not None:
        return done
    keys = bucket.keys()
    with parts.make(name, whole) as draft:
        path = draft.folder / CLUSTERS_FILE
        with pq.ParquetWriter(path, CLUSTERS_SCHEMA, compression="zstd") as writer:
            for start in range(0, bucket.rows, BLOCK_ROWS):
                stop = min(start + BLOCK_ROWS, bucket.rows)
                rows = bucket.read(start, stop)
                labels = assign(rows, centres)
                digests = [row.tobytes() for row in keys[start:stop]]
                distances = centres.distances(rows, labels).astype(np.float32)
                columns = [digests, labels.astype(np.int32), distances]
                writer.write_table(pa.table(columns, schema=CLUSTERS_SCHEMA))
        draft.counts["rows"] = bucket.rows
    return parts.get(name, whole)


def _save(parts: Parts, key: str, fit: Fit) -> None:
    earlier = _states(parts, key)
    with parts.make(f"{_CENTRES}-state", key) as draft:
        np.savez(
            draft.folder / _STATE,
            vectors=fit.centres.vectors,
            sums=fit.sums,
            counts=fit.counts,
        )
        draft.facts |= {
            "iterations": fit.iterations,
            "inertia": list(fit.inertia),
            "converged": fit.converged,
            "full": fit.full,
        }
    # An attempt that begins now may have found the last one.
    for part in earlier[1:]:
        parts.forget(part)


def _saved(parts: Parts, key: str, how: KMeans) -> Fit | None:
    states = _states(parts, key)
    if not states:
        return None
    part = states[0]
    with part.open(_STATE) as file:
        arrays = np.load(file)
        return Fit(
            Centres(arrays["vectors"], how.metric),
            part.facts["iterations"],
            tuple(part.facts["inertia"]),
            part.facts["converged"],
            part.facts["full"],
            arrays["sums"],
            arrays["counts"],
        )


def _states(parts: Parts, key: str) -> list[Part]:
    """What was saved, the latest first."""
    found = parts.find_all(f"{_CENTRES}-state", key)
    return sorted(found, key=lambda part: (-int(part.facts["iterations"]), part.uri))
