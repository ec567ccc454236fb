"""The ledger of a sampling: rows in are rows that go on and rows by reason, at every stage."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmrlhf_jobs.sampling.corpora.media import MEDIA_TYPE, MediaReader
from mmrlhf_jobs.sampling.corpora.reading import DROPS_FILE, read_rows, read_split
from mmrlhf_jobs.sampling.corpora.rows import RowSettings
from mmrlhf_jobs.sampling.losses import count_losses
from mmrlhf_jobs.sampling.parts import Part, Parts
from mmrlhf_jobs.sampling.selection.joining import CANDIDATES_FILE, Block, join_block
from mmrlhf_jobs.sampling.selection.pooling import add_counts, pick_pool, pool_bucket, read_pool
from mmrlhf_jobs.sampling.selection.records import RECORDS_FILE, write_block
from mmrlhf_jobs.sampling.selection.table import Candidates
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from tests.unit.sampling.corpora import llava, split_of, write_lines, write_parquet, write_tar
from tests.unit.sampling.test_pooling import save_clusters

ROWS: list[dict[str, Any]] = [
    llava("good", "<image>\nWhat?", "That.", "And why?", "So."),
    llava("text", "What?", "That.", image=None),
    llava("lost", "<image>\nWhat?", "That.", image=None),
    llava("cut", "What?", "That.", image="cut.png"),
    llava("open", "What?", "That.", "More?"),
    llava("model first", "What?"),
    llava("marks", "<image><image>What?", "That."),
    llava("away", "What?", "That.", image="https://x.org/a.png"),
    {"id": "shape", "text": "nothing"},
    {"id": "asked", "question": "What?", "image": "a.png", "output": "That."},
]


def write(form: str, folder: Path) -> tuple[Path, int]:
    """The rows in a format, and how many there are with those that are none."""
    path = folder / f"x.{form}"
    match form:
        case "jsonl":
            return write_lines(path, [*ROWS, b"{", b"", b'{"id": "\\ud83d"}']), len(ROWS) + 2
        case "json":
            path.write_text(json.dumps([*ROWS, 7]))
            return path, len(ROWS) + 1
        case "parquet":
            names = ["id", "image", "conversations"]
            plain = [{name: row.get(name) for name in names} for row in ROWS[:-2]]
            return write_parquet(path, plain), len(ROWS) - 2
    members = [(f"{n}.json", json.dumps(row).encode()) for n, row in enumerate(ROWS)]
    return write_tar(path, [*members, ("x.png", b"x"), ("._x.png", b"")]), len(ROWS) + 2


def media_of(block: Block, parts: Parts) -> Part:
    """Media of a block, of which those named cut.png failed."""
    rows: list[dict[str, Any]] = []
    for ref in dict.fromkeys(ref for row in block.read() for ref in row.media):
        failed = ref.uri.endswith("cut.png")
        rows.append(
            {
                **ref.as_row(),
                "status": "dropped" if failed else "ok",
                "reason": "truncated-image" if failed else None,
                "message": "it is cut off" if failed else None,
                "sha256": None if failed else hashlib.sha256(str(ref).encode()).digest(),
                "width": 1,
                "height": 1,
                "frame_pts_ms": None,
            }
        )
    schema = pa.schema(
        [
            *MEDIA_TYPE,
            ("status", pa.string()),
            ("reason", pa.string()),
            ("message", pa.string()),
            ("sha256", pa.binary(32)),
            ("width", pa.int32()),
            ("height", pa.int32()),
            ("frame_pts_ms", pa.float64()),
        ]
    )
    with parts.make(block.name, "key") as draft:
        pq.write_table(pa.Table.from_pylist(rows, schema), draft.folder / "media.parquet")
    return parts.get(block.name, "key")


@pytest.mark.parametrize("form", ["jsonl", "json", "parquet", "tar"])
def test_rows_in_are_candidates_and_rows_by_reason(tmp_path: Path, form: str) -> None:
    path, given = write(form, tmp_path)
    store = ArtifactStore(str(tmp_path / "out"))

    def parts(stage: str) -> Parts:
        return Parts(store, f"run/{stage}", scratch=tmp_path / "scratch")

    told: list[int] = []
    read = read_split(split_of(path), parts("rows"), RowSettings(), tell=told.append)
    with read.table(DROPS_FILE) as table:
        drops = table.read().to_pylist()
    kept = [row for place in range(len(read.facts["blocks"])) for row in read_rows(read, place)]
    assert read.counts["origin-rows"] == given
    # Every row of the file is found again: as one candidate a turn, or with a reason.
    lines = {row.line for row in kept} | {drop["row"] for drop in drops}
    assert len(lines) == given
    assert all(drop["reason"] and drop["message"] for drop in drops)
    assert sum(told) == len(kept) + len(drops)

    block = Block(0, read, 0)
    joined = join_block(
        block, media_of(block, parts("media")), parts("joined"), seed=0, weights={"corpus": 1.0}
    )
    lost = sum(n for name, n in joined.counts.items() if name.startswith("drop:"))
    assert joined.counts["candidates"] + lost == len(kept)
    assert joined.counts["drop:truncated-image"] == 1

    (losses,) = count_losses(["corpus"], [read], [(read, joined)])
    assert losses.rows == len(kept) + len(drops)
    assert losses.kept == joined.counts["candidates"] == 3
    assert losses.lost["truncated-image"] == 1
    assert losses.lost["unread-media"] == 1
    assert losses.lost["no-media"] == 1


def test_picks_are_records_and_those_left_behind_are_counted(tmp_path: Path) -> None:
    store = ArtifactStore(str(tmp_path / "out"))

    def parts(stage: str) -> Parts:
        return Parts(store, f"run/{stage}", scratch=tmp_path / "scratch")

    rows = [llava(f"row {n}", f"<image>\nWhat {n}?", f"That {n}.", image="a.png") for n in range(9)]
    path = write_lines(tmp_path / "y.jsonl", [*rows, rows[0]])
    read = read_split(split_of(path), parts("rows"), RowSettings(), tell=lambda _: None)
    block = Block(0, read, 0)
    media = media_of(block, parts("media"))
    joined = join_block(block, media, parts("joined"), seed=0, weights={"corpus": 1.0})
    assert joined.counts["candidates"] == 10
    with joined.table(CANDIDATES_FILE) as table:
        digest = table.read().column("media")[0].as_py()
    clusters = save_clusters([digest], parts("clusters"))
    pool = pool_bucket(clusters, [joined], parts("pools"), count_clusters=4, max_per_media=7)
    assert pool.counts == {"pooled": 7, "drop:duplicate": 1, "capped": 2}
    there = add_counts([pool])
    quotas = {name: tuple(min(n, 2) for n in counts) for name, counts in there.items()}
    picked = Candidates.join(list(read_pool(pick_pool(pool, parts("picks"), quotas))))
    made = write_block(
        block, media, picked, parts("records"), run_id="run", seed=0, quotas=quotas,
        reader=MediaReader(), save=lambda name, _: name,
    )  # fmt: skip
    with made.open(RECORDS_FILE) as file:
        written = [json.loads(line) for line in file]
    assert made.counts["records"] == len(written) == len(picked) == 2
    names = {bytes(one).decode() for one in picked.record_id}
    assert {one["record_id"] for one in written} == names
    assert sum(map(sum, quotas.values())) == len(written)
