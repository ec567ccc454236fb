"""The report of a run, from what its stages left: rank 0 makes it, after the results."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmrlhf_jobs.sampling.clustering.clusters import CLUSTERS_FILE
from mmrlhf_jobs.sampling.clustering.points import open_bucket
from mmrlhf_jobs.sampling.context import Stages
from mmrlhf_jobs.sampling.corpora.media import MediaReader, MediaRef
from mmrlhf_jobs.sampling.embeddings.embedding import MEDIA_FILE
from mmrlhf_jobs.sampling.embeddings.shuffling import KEYS_FILE, VECTORS_FILE
from mmrlhf_jobs.sampling.outcome import Outcome
from mmrlhf_jobs.sampling.report.page import ClusterView, MediaMap, render_page
from mmrlhf_jobs.sampling.report.projection import evenly, project, projection_table
from mmrlhf_jobs.sampling.report.thumbnails import read_thumbnails
from mmrlhf_jobs.sampling.selection.pooling import add_counts
from mmrlhf_jobs.sampling.stages import Clustered

__all__ = ["MAP_FILE", "PAGE_FILE", "draw"]

PAGE_FILE: Final = "report.html"
MAP_FILE: Final = "map.parquet"


def draw(stages: Stages, outcome: Outcome, clustered: Clustered) -> None:
    """Write ``report.html``, and ``map.parquet`` if the spec wants a map.

    Memory is that of the chosen records, a few thumbnails a cluster, one block of media and the
    vectors of the map: none of it grows with the corpora.

    Raises:
        StorageError: The store fails.
    """
    report = stages.job.spec.report
    stages.begin("report", "drawing the report")
    pictures = _thumbnails(stages, outcome, report.thumbnails)
    available = np.sum([list(one) for one in add_counts(outcome.pools).values()], axis=0)
    inside = outcome.picked.cluster[outcome.picked.cluster >= 0]
    selected = np.bincount(inside, minlength=len(available))
    views = [
        ClusterView(number, int(there), int(taken), pictures.get(number, ()))
        for number, (there, taken) in enumerate(zip(available, selected, strict=True))
    ]
    media_map = _map(stages, outcome, clustered) if report.map else None
    page = render_page(
        outcome.statistics,
        views,
        media_map=media_map,
        losses=outcome.losses,
        title=stages.job.metadata.name,
    )
    stages.results.write_text(PAGE_FILE, page)


def _thumbnails(stages: Stages, outcome: Outcome, most: int) -> dict[int, list[str | None]]:
    """Selected media nearest to each centre, as data URLs; None for one that is gone by now."""
    nearest = _nearest(outcome, most)
    wanted = {digest: block for media in nearest.values() for digest, block in media.items()}
    refs: dict[bytes, MediaRef] = {}
    for block in sorted(set(wanted.values())):
        mine = pa.array([d for d, home in wanted.items() if home == block], pa.binary(32))
        with outcome.media[block].table(MEDIA_FILE) as table:
            known = table.read()
        for line in known.filter(pc.is_in(known.column("sha256"), value_set=mine)).to_pylist():
            refs.setdefault(line["sha256"], MediaRef.from_row(line))
    pictures = read_thumbnails(refs, MediaReader(stages.options))
    return {number: [pictures[digest] for digest in media] for number, media in nearest.items()}


def _nearest(outcome: Outcome, most: int) -> dict[int, dict[bytes, int]]:
    """By cluster, the selected media nearest to its centre, with the block of each."""
    picked = outcome.picked
    found: dict[int, dict[bytes, int]] = {}
    for row in np.lexsort((picked.record_id, picked.distance)):
        if (cluster := int(picked.cluster[row])) < 0:
            continue
        nearest = found.setdefault(cluster, {})
        if len(nearest) < most:
            nearest.setdefault(bytes(picked.media[row]).ljust(32, b"\0"), int(picked.block[row]))
    return found


def _map(stages: Stages, outcome: Outcome, clustered: Clustered) -> MediaMap:
    """All unique media, or so many of them evenly, in two dimensions."""
    total = sum(part.counts["vectors"] for part in clustered.buckets)
    shown = evenly(total)
    vectors, clusters, digests, begin = [], [], [], 0
    for bucket_part, labels in zip(clustered.buckets, clustered.clusters, strict=True):
        folder = stages.fetch(bucket_part)
        bucket = open_bucket(folder / VECTORS_FILE, folder / KEYS_FILE)
        rows = shown[(shown >= begin) & (shown < begin + bucket.rows)] - begin
        begin += bucket.rows
        with labels.table(CLUSTERS_FILE) as table:
            known = table.read()
        vectors.append(np.asarray(bucket.take(rows), np.float32))
        clusters.append(known.column("cluster").to_numpy()[rows])
        digests += known.column("sha256").take(rows).to_pylist()
        stages.drop_fetched()
    sha256: npt.NDArray[np.bytes_] = np.array(digests, "S32")
    labels_shown = np.concatenate(clusters)
    selected = np.isin(sha256, outcome.picked.media)
    points = project(np.concatenate(vectors), seed=stages.job.spec.selection.seed)
    table = projection_table(sha256, points, labels_shown, selected)
    with stages.results.new_file(MAP_FILE) as path:
        pq.write_table(table, path, compression="zstd")
    return MediaMap(points, labels_shown, selected)
