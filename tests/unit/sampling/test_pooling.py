"""Pools against a plain dictionary, however few candidates are in memory at a time."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmrlhf_jobs.errors import StorageError
from mmrlhf_jobs.sampling import stages as stage
from mmrlhf_jobs.sampling.clustering.clusters import CLUSTERS_FILE, CLUSTERS_SCHEMA
from mmrlhf_jobs.sampling.context import Stages
from mmrlhf_jobs.sampling.parts import Part, Parts
from mmrlhf_jobs.sampling.selection import pooling
from mmrlhf_jobs.sampling.selection.joining import CANDIDATES_FILE
from mmrlhf_jobs.sampling.selection.picks import drop_duplicates, pick
from mmrlhf_jobs.sampling.selection.quotas import CATEGORIES, plan_quotas
from mmrlhf_jobs.sampling.selection.table import Candidates
from mmrlhf_jobs.storage.artifacts import ArtifactStore

CLUSTERS, MEDIA, ROWS, GROUP = 4, 40, 1_500, 16


def candidates() -> Candidates:
    """Rows of which most are about a few media, with repeated ids; a digest ends in zeros."""
    draw = np.random.default_rng(0)
    digests = np.sort(draw.integers(1, 256, (MEDIA, 32), np.uint8).view("S32")[:, 0])
    digests[MEDIA // 2] = digests[MEDIA // 2][:20]
    weights = 1 / np.arange(1, MEDIA + 1)
    medium = draw.choice(MEDIA, ROWS, p=weights / weights.sum())
    question = draw.integers(0, ROWS // MEDIA, ROWS)
    return Candidates(
        media=digests[medium],
        record_id=np.array(
            [f"{m:03d}-{q:028d}" for m, q in zip(medium, question, strict=True)], "S32"
        ),
        category=draw.integers(0, 3, ROWS).astype(np.int8),
        key=draw.permutation(ROWS) / ROWS,
        tie=draw.permutation(ROWS).astype(np.uint64),
        block=(np.arange(ROWS) % 3).astype(np.int32),
        row=np.arange(ROWS, dtype=np.int32),
        cluster=np.full(ROWS, -1, np.int32),
        distance=np.full(ROWS, np.nan, np.float32),
    )


def save(rows: Candidates, parts: Parts) -> list[Part]:
    """Candidates as the join stage leaves them, a part a block."""
    made = []
    for block in range(3):
        mine = rows.take(rows.block == block)
        mine = mine.take(np.lexsort((mine.row, mine.record_id, mine.media)))
        with parts.make(f"block-{block}", "key") as draft:
            pq.write_table(mine.to_arrow(), draft.folder / CANDIDATES_FILE, row_group_size=GROUP)
            starts = [bytes(one).ljust(32, b"\0").hex() for one in mine.media[::GROUP]]
            draft.facts["starts"] = starts
        made.append(parts.get(f"block-{block}", "key"))
    return made


def save_clusters(digests: Sequence[bytes], parts: Parts, name: str = "bucket") -> Part:
    """Clusters of media, which go by their place."""
    with parts.make(name, "key") as draft:
        columns = [
            [digest.ljust(32, b"\0") for digest in digests],
            [place % CLUSTERS for place in range(len(digests))],
            [place / 100 for place in range(len(digests))],
        ]
        pq.write_table(pa.table(columns, schema=CLUSTERS_SCHEMA), draft.folder / CLUSTERS_FILE)
    return parts.get(name, "key")


@pytest.mark.parametrize("most", [None, 3])
def test_a_pool_has_each_record_once_and_few_are_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int | None
) -> None:
    rows = candidates()
    parts = Parts(ArtifactStore(str(tmp_path / "out")), "run/x", scratch=tmp_path / "scratch")
    digests = sorted({bytes(one) for one in rows.media})
    sizes: list[int] = []
    whole = drop_duplicates

    def watched(some: Candidates) -> Candidates:
        sizes.append(len(some))
        return whole(some)

    monkeypatch.setattr(pooling, "drop_duplicates", watched)
    monkeypatch.setattr(pooling, "_SLICE_ROWS", 100)
    blocks, clusters = save(rows, parts), save_clusters(digests, parts)
    pools = Parts(ArtifactStore(str(tmp_path / "out")), "run/pools", scratch=tmp_path / "scratch")
    pool = pooling.pool_bucket(clusters, blocks, pools, count_clusters=CLUSTERS, max_per_media=most)
    # No slice has more than asked for, but for the medium that begins in it.
    assert sum(sizes) == ROWS
    assert max(sizes) < 100 + max(Counter(rows.media.tolist()).values())
    assert len(sizes) > 5

    best: dict[bytes, int] = {}
    for place in range(ROWS):
        record = bytes(rows.record_id[place])
        if record not in best or rows.tie[place] < rows.tie[best[record]]:
            best[record] = place
    by_medium = defaultdict(list)
    for place in best.values():
        by_medium[bytes(rows.media[place])].append(place)
    kept = [
        place
        for places in by_medium.values()
        for place in sorted(places, key=lambda place: rows.key[place])[:most]
    ]
    found = Candidates.join(list(pooling.read_pool(pool)))
    assert sorted(found.row.tolist()) == sorted(kept)
    assert pool.counts == {
        "pooled": len(kept),
        "drop:duplicate": ROWS - len(best),
        "capped": len(best) - len(kept),
    }
    numbers = [digests.index(bytes(one)) for one in found.media]
    assert found.cluster.tolist() == [number % CLUSTERS for number in numbers]
    assert np.allclose(found.distance, [number / 100 for number in numbers])
    available = pooling.add_counts([pool])
    for number, name in enumerate(CATEGORIES):
        mine = found.cluster[found.category == number]
        assert available[name] == tuple(np.bincount(mine, minlength=CLUSTERS).tolist())

    # What is picked piece by piece is what is picked of all.
    quotas = plan_quotas(available, target=60, shares={"long": 4, "short": 5, "mcq": 1}).by_cluster
    picked = Candidates.join(list(pooling.read_pool(pooling.pick_pool(pool, parts, quotas))))
    assert picked.row.tolist() == pick(found, quotas).row.tolist()
    assert len(picked) == 60


@pytest.mark.parametrize("most", [None, 2])
def test_candidates_in_are_picks_and_candidates_by_reason(tmp_path: Path, most: int | None) -> None:
    """The ledger of pools and picks, over several buckets."""
    rows = candidates()
    parts = Parts(ArtifactStore(str(tmp_path / "out")), "run/x", scratch=tmp_path / "scratch")
    picks = Parts(ArtifactStore(str(tmp_path / "out")), "run/picks", scratch=tmp_path / "scratch")
    blocks = save(rows, parts)
    digests = sorted({bytes(one) for one in rows.media})
    pools = [
        pooling.pool_bucket(
            save_clusters(digests[start : start + 11], parts, f"b{start}"),
            blocks,
            Parts(ArtifactStore(str(tmp_path / "out")), "run/p", scratch=tmp_path / "scratch"),
            count_clusters=CLUSTERS,
            max_per_media=most,
        )
        for start in range(0, len(digests), 11)
    ]
    total = sum((Counter(pool.counts) for pool in pools), Counter())
    assert total["pooled"] + total["drop:duplicate"] + total["capped"] == ROWS
    assert total["drop:duplicate"] == ROWS - len(set(rows.record_id.tolist())) > 0
    assert (total["capped"] > 0) is (most is not None)
    available = pooling.add_counts(pools)
    assert sum(map(sum, available.values())) == total["pooled"]
    quotas = plan_quotas(available, target=40, shares={"long": 4, "short": 5, "mcq": 1}).by_cluster
    picked = [pooling.pick_pool(pool, picks, quotas) for pool in pools]
    # Each pool gives what all together could need; of that the run picks what it wants.
    found = Candidates.join([some for part in picked for some in pooling.read_pool(part)])
    assert sum(part.counts["picked"] for part in picked) == len(found) <= total["pooled"]
    whole = Candidates.join([some for pool in pools for some in pooling.read_pool(pool)])
    assert len(whole) == total["pooled"]
    wanted = pick(found, quotas).row.tolist()
    assert sorted(wanted) == sorted(pick(whole, quotas).row.tolist())
    assert len(set(wanted)) == len(wanted) == 40


def test_a_medium_that_no_cluster_has_is_an_error(tmp_path: Path) -> None:
    rows = candidates()
    parts = Parts(ArtifactStore(str(tmp_path / "out")), "run/x", scratch=tmp_path / "scratch")
    digests = sorted({bytes(one) for one in rows.media})
    clusters = save_clusters([*digests[:7], *digests[8:]], parts)
    with pytest.raises(StorageError, match="lacks media that rows need; remove the run's work"):
        pooling.pool_bucket(
            clusters, save(rows, parts), parts, count_clusters=CLUSTERS, max_per_media=None
        )


def test_a_pool_of_no_media_is_empty(tmp_path: Path) -> None:
    parts = Parts(ArtifactStore(str(tmp_path / "out")), "run/x", scratch=tmp_path / "scratch")
    none = candidates().take(np.arange(0))
    pool = pooling.pool_bucket(
        save_clusters([], parts), save(none, parts), parts, count_clusters=2, max_per_media=None
    )
    assert pool.counts["pooled"] == 0
    assert sum(map(len, pooling.read_pool(pooling.pick_pool(pool, parts, {})))) == 0


def test_candidates_in_a_store_are_opened_once_a_process_whatever_the_buckets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ArtifactStore(f"memory://pooling-{uuid4().hex}")
    parts = Parts(store, "run/x", scratch=tmp_path / "scratch")
    rows = candidates()
    digests = sorted({bytes(one) for one in rows.media})
    buckets = [save_clusters(digests[n * 10 : n * 10 + 10], parts, f"b{n}") for n in range(4)]
    blocks = save(rows, parts)
    opened: Counter[str] = Counter()
    memory = type(fsspec.filesystem("memory"))
    read = memory.open

    def counted(fs: Any, path: str, mode: str = "rb", **more: Any) -> Any:
        if "r" in mode and path.endswith(CANDIDATES_FILE):
            opened[path] += 1
        return read(fs, path, mode, **more)

    monkeypatch.setattr(memory, "open", counted)
    here: Any = SimpleNamespace(
        store=store,
        scratch=tmp_path / "fetched",
        job=SimpleNamespace(
            spec=SimpleNamespace(
                clustering=SimpleNamespace(centres=CLUSTERS),
                selection=SimpleNamespace(max_per_media=None),
            )
        ),
        work=SimpleNamespace(share=lambda _, items: items),
        begin=lambda *_: None,
        parts=lambda name: Parts(store, f"run/{name}", scratch=tmp_path / "scratch"),
    )
    for name in ("fetch", "drop_fetched", "key_of"):
        setattr(here, name, getattr(Stages, name).__get__(here))
    pools = stage.pool(here, stage.Clustered(buckets[0], (), tuple(buckets)), blocks)
    assert len(opened) == len(blocks)
    assert set(opened.values()) == {1}
    assert sum(part.counts["pooled"] for part in pools) == len(set(rows.record_id.tolist()))
    assert not (tmp_path / "fetched" / "fetched").exists()
