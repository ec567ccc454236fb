"""The read stage: parts, blocks, counts; and the bytes of media wherever they lie."""

from __future__ import annotations

import pickle
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

from mmrlhf_jobs.sampling.corpora import reading
from mmrlhf_jobs.sampling.corpora.media import DroppedMedia, MediaReader, MediaRef
from mmrlhf_jobs.sampling.corpora.reading import DROPS_FILE, read_rows, read_split, rows_key
from mmrlhf_jobs.sampling.corpora.rows import RowSettings
from mmrlhf_jobs.sampling.parts import Part, Parts
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from tests.unit.sampling.corpora import (
    cut,
    llava,
    raw,
    split_of,
    write_lines,
    write_parquet,
    write_tar,
)


def read(path: Path, tmp_path: Path, *, settings: RowSettings | None = None) -> Part:
    parts = Parts(ArtifactStore(str(tmp_path / "out")), "run/rows", scratch=tmp_path / "scratch")
    told: list[int] = []
    part = read_split(split_of(path), parts, settings or RowSettings(), tell=told.append)
    assert sum(told) == part.counts["rows"] + sum(
        number for name, number in part.counts.items() if name.startswith("drop:")
    )
    return part


def test_a_part_holds_all_rows_in_blocks_and_all_drops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "BLOCK_ROWS", 4)
    monkeypatch.setattr(reading, "_GROUP_ROWS", 3)
    path = write_lines(
        tmp_path / "a.jsonl",
        [llava(str(n), "q", "a" * (n * 20), "r", "b", *["more?"] * (n % 2)) for n in range(1, 8)],
    )
    part = read(path, tmp_path)
    rows, drops = cut(path)
    assert part.facts["blocks"] == [4, 4, 4, 2]
    assert [row for block in range(4) for row in read_rows(part, block)] == rows
    assert part.counts == {
        "origin-rows": 7,
        "rows": 14,
        "drop:trailing-turn": 4,
        "type:long": Counter(row.type for row in rows)["long"],
        "type:short": Counter(row.type for row in rows)["short"],
    }
    with part.table(DROPS_FILE) as table:
        assert [(row["row"], row["reason"]) for row in table.read().to_pylist()] == [
            (drop.row, drop.reason) for drop in drops
        ]


def test_a_part_is_made_once_and_again_for_other_settings(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", [llava("1", "q", "a")])
    first = read(path, tmp_path)
    (marker,) = (tmp_path / "out" / "run" / "rows" / split_of(path).id).rglob("COMMITTED")
    before = marker.stat().st_mtime_ns
    assert read(path, tmp_path) == first
    assert marker.stat().st_mtime_ns == before
    other = read(path, tmp_path, settings=RowSettings(long_threshold=0))
    assert other.key != first.key
    assert [row.type for row in read_rows(other, 0)] == ["long"]
    write_lines(path, [llava("1", "q", "a"), llava("2", "q", "a")])
    assert read(path, tmp_path).counts["rows"] == 2


def test_the_key_does_not_know_the_weight(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", [])
    keys = {rows_key(split_of(path, weight=weight), RowSettings()) for weight in (1.0, 2.0)}
    assert len(keys) == 1


def test_bytes_of_media_wherever_they_lie(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"plain")
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    parquet = write_parquet(
        tmp_path / "p.parquet",
        [
            {
                "question": str(n),
                "answer": "a",
                "images": [{"bytes": f"{n}.{i}".encode()} for i in range(n)],
            }
            for n in range(5)
        ],
        pa.schema(
            [("question", pa.string()), ("answer", pa.string()), ("images", pa.list_(image))]
        ),
        group=2,
    )
    shard = write_tar(
        tmp_path / "s.tar", [("1.json", b"{}"), ("1.jpg", b"first"), ("2.png", b"second")]
    )
    reader = pickle.loads(pickle.dumps(MediaReader()))
    assert reader.read(MediaRef(str(tmp_path / "a.png"))) == b"plain"
    refs = [ref for one in raw(parquet) for ref in one.media]
    expected = [f"{n}.{i}".encode() for n in range(5) for i in range(n)]
    assert [reader.read(ref) for ref in refs] == expected
    assert [reader.read(ref) for ref in reversed(refs)] == expected[::-1]
    tar = [reader.read(ref) for one in raw(shard) for ref in one.media]
    assert tar == [b"first", b"second"]
    assert all(MediaRef.from_row({**ref.as_row(), "more": 1}) == ref for ref in refs)


@pytest.mark.parametrize("place", ["file", "folder", "empty", "tar"])
def test_media_that_cannot_be_had(tmp_path: Path, place: str) -> None:
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    (tmp_path / "short.tar").write_bytes(b"x" * 700)
    ref, reason = {
        "file": (MediaRef(f"{tmp_path}/none.png"), "missing-file"),
        "folder": (MediaRef(f"{tmp_path}/folder"), "missing-file"),
        "empty": (MediaRef(f"{tmp_path}/empty"), "empty-file"),
        "tar": (
            MediaRef(f"{tmp_path}/short.tar", member="a", offset=512, size=400),
            "short-file",
        ),
    }[place]
    with pytest.raises(DroppedMedia) as caught:
        MediaReader().read(ref)
    assert caught.value.reason == reason
    assert str(ref) in caught.value.message
