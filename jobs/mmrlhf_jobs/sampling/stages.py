"""The stages of a sampling, each a function of what the last one left.

Every process calls every stage. Items are shared among them; what comes back is the same on each.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from mmrlhf_api.listing import first_few
from mmrlhf_jobs.data.identity import digest_of
from mmrlhf_jobs.models.folders import fetch_model
from mmrlhf_jobs.sampling.budgets import BudgetWatch
from mmrlhf_jobs.sampling.clustering.centres import Centres
from mmrlhf_jobs.sampling.clustering.clusters import CENTRES_FILE, assign_bucket, find_centres
from mmrlhf_jobs.sampling.clustering.kmeans import KMeans
from mmrlhf_jobs.sampling.clustering.points import Points, open_bucket
from mmrlhf_jobs.sampling.context import EFFORT, Stages
from mmrlhf_jobs.sampling.corpora.extents import extents_from
from mmrlhf_jobs.sampling.corpora.media import MediaReader
from mmrlhf_jobs.sampling.corpora.reading import read_split, rows_key
from mmrlhf_jobs.sampling.corpora.rows import RowSettings
from mmrlhf_jobs.sampling.corpora.sources import Corpus, Split, list_splits
from mmrlhf_jobs.sampling.embeddings.embedding import Embedder, media_key
from mmrlhf_jobs.sampling.embeddings.encoder import Encoder
from mmrlhf_jobs.sampling.embeddings.shuffling import (
    KEYS_FILE,
    VECTORS_FILE,
    WantedMedia,
    shuffle,
)
from mmrlhf_jobs.sampling.embeddings.store import VectorStore
from mmrlhf_jobs.sampling.images.decoders import Decoders
from mmrlhf_jobs.sampling.parts import Part
from mmrlhf_jobs.sampling.selection.joining import Block, candidates_key, join_block
from mmrlhf_jobs.sampling.selection.pooling import pool_bucket

__all__ = ["Clustered", "Embedded", "cluster", "embed", "find_splits", "pool", "read"]


@dataclass(frozen=True)
class Embedded:
    """What the embed stage leaves.

    Attributes:
        vectors: Store of the vectors.
        media: One part a block.
        candidates: Rows whose media all have a vector; one part a block.
    """

    vectors: VectorStore
    media: tuple[Part, ...]
    candidates: tuple[Part, ...]


@dataclass(frozen=True)
class Clustered:
    """What the cluster stage leaves.

    Attributes:
        centres: Part with the centres and how they came about.
        buckets: One part a bucket, with the vectors of its media.
        clusters: One part a bucket, with the cluster of each medium.
    """

    centres: Part
    buckets: tuple[Part, ...]
    clusters: tuple[Part, ...]


def find_splits(stages: Stages) -> tuple[Split, ...]:
    """The files of all sources, as rank 0 sees them; hidden ones are left out and told."""
    corpora = [
        Corpus(
            name=source.name,
            uri=source.uri,
            format=source.format,
            media_root=source.media_root,
            type=source.type,
            weight=source.weight,
            allowed_media_roots=source.allowed_media_roots or (),
        )
        for source in stages.job.spec.sources
    ]
    hidden: list[str] = []
    splits = stages.runtime.on_main(lambda: list_splits(corpora, stages.options, hidden.append))
    if hidden:
        names = ", ".join(first_few(hidden, shown=3))
        stages.context.tell(f"{len(hidden)} hidden files are left out: {names}")
    return splits


def read(stages: Stages, splits: Sequence[Split]) -> tuple[Part, ...]:
    """Read all splits; one part each.

    Raises:
        DataError: A budget is passed, maybe before all are read.
    """
    typing = stages.job.spec.typing
    settings = RowSettings(
        long_threshold=typing.long_threshold,
        length_source=typing.length_source,
        context_dependent=typing.context_dependent,
    )
    parts = stages.parts("rows")
    rest = cache(lambda: extents_from(splits))
    watch = BudgetWatch(
        stages.work,
        stages.limits,
        lambda place: parts.find(splits[place].id, rows_key(splits[place], settings)),
        len(splits),
        unread=lambda place: rest()[place],
    )
    size = sum(split.fingerprint.size for split in splits)
    stages.begin("read", f"reading {len(splits)} files", counter="rows", effort=size)
    for split in stages.work.share("read", splits, enough=watch.passed):
        watch.add(
            read_split(split, parts, settings, tell=lambda rows: stages.work.count("rows", rows))
        )
        stages.work.count(EFFORT, split.fingerprint.size)
    return watch.check()


def blocks_of(rows: Sequence[Part]) -> tuple[Block, ...]:
    """All blocks, in the order of their parts."""
    places = [(part, index) for part in rows for index in range(len(part.facts["blocks"]))]
    return tuple(Block(number, part, index) for number, (part, index) in enumerate(places))


def embed(
    stages: Stages, rows: Sequence[Part], blocks: Sequence[Block], splits: Sequence[Split]
) -> Embedded:
    """Give every medium a vector, or a reason why it has none, and rows with them as candidates.

    Raises:
        DataError: A budget is passed, maybe before all are embedded.
    """
    spec = stages.job.spec
    embedding = spec.embedding
    stages.begin("load", f"loading {embedding.model.uri}")
    folder = fetch_model(embedding.model.uri, stages.scratch, stages.options)
    encoder = Encoder(folder, dtype=embedding.dtype, device=stages.runtime.device)
    vectors = VectorStore(
        stages.store,
        encoder.key,
        scratch=stages.scratch / "vectors",
        dtype=embedding.vectors,
        storage=stages.options,
    )
    vectors.refresh()
    parts, joined = stages.parts("media"), stages.parts("candidates")
    weights = {source.name: source.weight for source in spec.sources}
    keys = [media_key(block.rows.key, block.index, vectors.key) for block in blocks]

    def find(place: int) -> Part | None:
        key = candidates_key(blocks[place], keys[place], seed=spec.selection.seed, weights=weights)
        return joined.find(blocks[place].name, key)

    watch = BudgetWatch(stages.work, stages.limits, find, len(blocks), before=rows)
    by_id = {split.id: split for split in splits}
    total = sum(block.size for block in blocks)
    stages.begin("embed", f"embedding the media of {total} rows", counter="media", effort=total)
    with Decoders(encoder.preparation, _decoders(stages)) as decoders:
        embedder = Embedder(
            encoder=encoder,
            reader=MediaReader(stages.options),
            decoders=decoders,
            store=vectors,
            batch_size=embedding.batch_size,
        )
        for block in stages.work.share("embed", blocks, enough=watch.passed):
            media = embedder.embed(
                block.name,
                keys[block.number],
                (ref for row in block.read() for ref in row.media),
                parts,
                tell=_teller(stages, block),
            )
            # Its media may lie in the very file.
            by_id[block.rows.name].check_unchanged()
            watch.add(join_block(block, media, joined, seed=spec.selection.seed, weights=weights))
    vectors.forget()
    candidates = watch.check()
    found = tuple(parts.get(block.name, keys[block.number]) for block in blocks)
    return Embedded(vectors, found, candidates)


def cluster(stages: Stages, embedded: Embedded) -> Clustered:
    """Cluster all media that have a vector."""
    spec = stages.job.spec
    runtime = stages.runtime
    stages.begin("cluster", f"finding {spec.clustering.centres} clusters")
    buckets_parts, parts = stages.parts("buckets"), stages.parts("clusters")
    wanted = WantedMedia(embedded.media, stages.scratch / "wanted")

    def shuffled(mine: slice) -> list[Part]:
        return shuffle(
            wanted,
            embedded.vectors,
            buckets_parts,
            scratch=stages.scratch / "shuffle",
            mine=mine,
        )

    shuffled(slice(runtime.rank, None, runtime.world_size))
    runtime.wait()
    made = [part for part in shuffled(slice(None)) if part.counts["vectors"]]
    buckets = []
    for part in made:
        folder = stages.fetch(part)
        buckets.append(open_bucket(folder / VECTORS_FILE, folder / KEYS_FILE))
    how = KMeans(
        metric=spec.clustering.metric,
        iterations=spec.clustering.iterations,
        tolerance=spec.clustering.tolerance,
        batch_rows=spec.clustering.batch_rows,
    )
    centres_part = find_centres(
        Points(buckets),
        spec.clustering.centres,
        how,
        parts,
        seed=spec.selection.seed,
        data=digest_of([part.key for part in made]).hex(),
        ranks=runtime,
    )
    with centres_part.open(CENTRES_FILE) as file:
        vectors: Any = np.load(file)
    centres = Centres(vectors, how.metric)

    def assigned(place: int) -> Part:
        return assign_bucket(made[place].name, buckets[place], made[place].key, centres, parts)

    for place in stages.work.share("assign", range(len(made))):
        assigned(place)
    clusters = tuple(assigned(place) for place in range(len(made)))
    stages.drop_fetched()
    return Clustered(centres_part, tuple(made), clusters)


def pool(stages: Stages, clustered: Clustered, candidates: Sequence[Part]) -> tuple[Part, ...]:
    """Bring candidates and clusters together, bucket by bucket."""
    spec = stages.job.spec
    parts = stages.parts("pools")
    stages.begin("select", "choosing rows")

    @cache
    def near() -> list[Part]:
        """The candidates on this machine: fetched once a process, not once a bucket."""
        return [replace(part, uri=str(stages.fetch(part)), storage=None) for part in candidates]

    def made(clusters: Part) -> Part:
        return pool_bucket(
            clusters,
            candidates,
            parts,
            count_clusters=spec.clustering.centres,
            max_per_media=spec.selection.max_per_media,
            near=near,
        )

    for clusters in stages.work.share("pool", clustered.clusters):
        made(clusters)
    pools = tuple(made(clusters) for clusters in clustered.clusters)
    stages.drop_fetched()
    return pools


def _teller(stages: Stages, block: Block) -> Callable[[int, int], None]:
    """Counts the media of a block, and as effort as great a part of its rows."""
    done = 0

    def tell(more: int, of: int) -> None:
        nonlocal done
        before, done = done, done + more
        stages.work.count("media", more)
        stages.work.count(EFFORT, block.size * done // of - block.size * before // of)

    return tell


def _decoders(stages: Stages) -> int:
    """Decoding processes of this process: its share of the machine's processors."""
    beside = stages.job.spec.resources.processes_per_node
    return max(1, len(os.sched_getaffinity(0)) // beside)
