"""Readers of the four formats: rows, bad rows, and broken files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmrlhf_jobs.data import jsonl
from mmrlhf_jobs.errors import DataError
from tests.unit.sampling.corpora import llava, raw, write_lines, write_parquet, write_tar

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
OBJECTS = st.lists(st.dictionaries(st.text(max_size=4), JSON, max_size=4), max_size=8)
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


@settings(max_examples=60, deadline=None)
@given(
    rows=OBJECTS,
    chunk=st.integers(1, 40),
    indent=st.sampled_from([None, 1]),
    ascii_=st.booleans(),
)
def test_an_array_in_pieces_of_any_size_is_what_json_reads(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[dict[str, Any]],
    chunk: int,
    indent: int | None,
    ascii_: bool,
) -> None:
    path = tmp_path_factory.mktemp("arrays") / "rows.json"
    try:
        text = json.dumps(rows, indent=indent, ensure_ascii=ascii_).encode()
    except UnicodeEncodeError:
        return
    path.write_bytes(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jsonl, "BLOCK_BYTES", chunk)
        found = raw(path, format="llava") if rows else raw(path)
    good = [one.content for one in found if one.content is not None]
    expected = [row for row in rows if _is_unicode(row)]
    assert good == expected
    assert {one.reason for one in found if one.content is None} <= {"not-utf8"}
    assert [one.number for one in found] == list(range(1, len(rows) + 1))


def test_a_number_is_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rows.json"
    path.write_text('[1234567, {"id": 1}, 5]')
    monkeypatch.setattr(jsonl, "BLOCK_BYTES", 4)
    assert [one.content for one in raw(path, format="llava")] == [None, {"id": 1}, None]


def _is_unicode(value: object) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


@pytest.mark.parametrize(
    ("text", "row", "message"),
    [
        (b'[{"id": 1}, {"id": 2}', 3, "found the end"),
        (b'[{"id": 1}, {"id": ', 2, "broken or cut off"),
        (b'[{"id": 1} {"id": 2}]', 2, "expected a comma"),
        (b'[{"id": 1}] {"id": 2}', 2, "something follows"),
        (b'"text"', 1, "no JSON array"),
        (b"", 1, "no JSON array"),
        (b"[" * 100_000, 1, "nested too deeply"),
    ],
)
def test_a_broken_array_names_the_row(tmp_path: Path, text: bytes, row: int, message: str) -> None:
    path = tmp_path / "rows.json"
    path.write_bytes(text)
    with pytest.raises(DataError, match=message) as caught:
        raw(path)
    assert caught.value.row == row
    assert caught.value.file == str(path)


def test_bytes_that_are_not_utf8_spoil_their_own_row(tmp_path: Path) -> None:
    text = '[{"id": "a"}, {"id": "LATIN"}, {"id": "\\ud800"}, {"id": "\\ud83d\\ude00"}, 5]'
    path = tmp_path / "rows.json"
    path.write_bytes(text.encode().replace(b"LATIN", "caf\u00e9".encode("latin-1")))
    found = raw(path)
    assert [one.reason for one in found] == ["", "not-utf8", "not-utf8", "", "invalid-row"]
    assert found[3].content == {"id": "\U0001f600"}
    lines = write_lines(
        tmp_path / "rows.jsonl",
        [{"id": "a"}, b'{"id": "caf\xe9"}', b"", b"{broken", b'"text"', {"id": "z"}],
    )
    found = raw(lines)
    assert [(one.number, one.reason) for one in found] == [
        (1, ""),
        (2, "not-utf8"),
        (4, "invalid-json"),
        (5, "invalid-row"),
        (6, ""),
    ]


def test_a_byte_order_mark_is_no_part_of_the_first_row(tmp_path: Path) -> None:
    for name, text in (("a.json", '[{"id": 1}]'), ("b.jsonl", '{"id": 1}\n')):
        (tmp_path / name).write_text(text, encoding="utf-8-sig")
        assert [one.content for one in raw(tmp_path / name)] == [{"id": 1}]


def test_an_array_in_a_file_of_lines_and_the_other_way_round(tmp_path: Path) -> None:
    """auto looks into .json; llava looks whatever the name."""
    write_lines(tmp_path / "lines.json", [{"id": 1}, {"id": 2}])
    (tmp_path / "array.txt").write_text('[{"id": 1}]')
    assert [one.content for one in raw(tmp_path / "lines.json")] == [{"id": 1}, {"id": 2}]
    assert [one.content for one in raw(tmp_path / "array.txt", format="llava")] == [{"id": 1}]


def columns(path: Path) -> list[list[str]]:
    return [[str(ref.column) for ref in one.media] for one in raw(path)]


def test_bytes_in_parquet_are_named_and_not_read(tmp_path: Path) -> None:
    full = write_parquet(
        tmp_path / "full.parquet",
        [{"question": str(n), "image": {"bytes": b"x" * n, "path": None}} for n in range(1, 6)],
        pa.schema([("question", pa.string()), ("image", IMAGE)]),
    )
    found = raw(full)
    assert [one.content for one in found] == [{"question": str(n)} for n in range(1, 6)]
    assert [(one.media[0].column, one.media[0].row) for one in found] == [
        ("image.bytes", n) for n in range(5)
    ]
    mixed = write_parquet(
        tmp_path / "mixed.parquet",
        [
            {"question": "bytes", "image": {"bytes": b"x", "path": "x.png"}},
            {"question": "path", "image": {"bytes": None, "path": "y.png"}},
            {"question": "none", "image": None},
        ],
        pa.schema([("question", pa.string()), ("image", IMAGE)]),
    )
    assert columns(mixed) == [["image.bytes"], [], []]
    assert [(one.content or {}).get("image") for one in raw(mixed)] == [None, ["y.png"], None]
    bare = write_parquet(
        tmp_path / "bare.parquet",
        [{"question": "a", "image": b"x"}, {"question": "b", "image": None}],
        pa.schema([("question", pa.string()), ("image", pa.binary())]),
    )
    assert columns(bare) == [["image"], []]
    several = write_parquet(
        tmp_path / "several.parquet",
        [
            {"question": "two", "images": [{"bytes": b"x", "path": "1"}, {"bytes": b"y"}]},
            {"question": "none", "images": []},
            {"question": "null", "images": None},
            {"question": "one", "images": [{"bytes": b"z", "path": None}]},
        ],
        pa.schema([("question", pa.string()), ("images", pa.list_(IMAGE))]),
    )
    assert columns(several) == [["images.0.bytes", "images.1.bytes"], [], [], ["images.0.bytes"]]
    lists = write_parquet(
        tmp_path / "lists.parquet",
        [{"question": "two", "images": [b"x", b"y"]}, {"question": "none", "images": []}],
        pa.schema([("question", pa.string()), ("images", pa.list_(pa.binary()))]),
    )
    assert columns(lists) == [["images.0", "images.1"], []]


def test_parquet_that_is_none_or_has_no_text(tmp_path: Path) -> None:
    (tmp_path / "no.parquet").write_bytes(b"PAR1 is not enough")
    with pytest.raises(DataError, match="not a readable Parquet file"):
        raw(tmp_path / "no.parquet")
    path = write_parquet(tmp_path / "x.parquet", [{"image": b"x"}])
    with pytest.raises(DataError, match="no columns of text"):
        raw(path)


def test_samples_of_a_shard(tmp_path: Path) -> None:
    row = json.dumps(llava("1", "what?", "that")).encode()
    path = write_tar(
        tmp_path / "s.tar",
        [
            ("./a/0001.jpg", b"first"),
            ("./a/0001.json", row),
            ("./a/0002.json", b"{broken"),
            ("./a/0002.0.png", b"one"),
            ("./a/0002.1.png", b""),
            ("./b/0002.mp4", b"film"),
            ("./b/0002.txt", b"ignored"),
        ],
    )
    found = raw(path)
    assert [(one.number, one.reason, len(one.media)) for one in found] == [
        (1, "", 1),
        (2, "invalid-json", 2),
        (3, "invalid-row", 1),
    ]
    assert found[0].content == json.loads(row)
    for ref, content in zip(
        [ref for one in found for ref in one.media], [b"first", b"one", b"", b"film"], strict=True
    ):
        start, size = ref.offset or 0, ref.size or 0
        assert path.read_bytes()[start : start + size] == content
    assert found[2].media[0].kind == "video"


def row_of(name: str) -> bytes:
    return json.dumps({"id": name}).encode()


UNTIDY = {
    "rows first": (["a.json", "b.json", "a.jpg", "b.jpg"], {"a": ["a.jpg"], "b": ["b.jpg"]}),
    "media first": (["a.jpg", "b.jpg", "a.json", "b.json"], {"a": ["a.jpg"], "b": ["b.jpg"]}),
    "dots in names": (
        ["x.v2.1.jpg", "x.v2.1.json", "x.v2.2.jpg", "x.v2.2.json"],
        {"x.v2.1": ["x.v2.1.jpg"], "x.v2.2": ["x.v2.2.jpg"]},
    ),
    "dots and media first": (
        ["x.v2.1.jpg", "x.v2.2.jpg", "x.v2.1.json", "x.v2.2.json"],
        {"x.v2.1": ["x.v2.1.jpg"], "x.v2.2": ["x.v2.2.jpg"]},
    ),
    "two media and notes": (
        ["1.left.jpg", "1.right.avif", "1.json", "1.meta.json"],
        {"1": ["1.left.jpg", "1.right.avif"]},
    ),
    "what macOS adds": (["._1.json", "__MACOSX/1.jpg", "1.json", "1.jfif"], {"1": ["1.jfif"]}),
}


@pytest.mark.parametrize("names", UNTIDY)
def test_a_shard_that_is_not_tidy_loses_nothing(tmp_path: Path, names: str) -> None:
    members, expected = UNTIDY[names]
    path = write_tar(
        tmp_path / "s.tar",
        [(one, row_of(one.removesuffix(".json")) if ".json" in one else b"x") for one in members],
    )
    found = [row for row in raw(path) if row.reason != "hidden-member"]
    assert {
        (row.content or {})["id"]: [ref.member for ref in row.media] for row in found
    } == expected
    hidden = [row for row in raw(path) if row.reason == "hidden-member"]
    assert len(hidden) == (2 if "macOS" in names else 0)


def test_a_member_that_comes_too_late_is_counted(tmp_path: Path) -> None:
    members = ["a.json", "a.0.jpg", "b.json", "b.jpg", "a.1.jpg"]
    path = write_tar(tmp_path / "s.tar", [(one, b"{}") for one in members])
    assert [(row.number, row.reason) for row in raw(path)] == [
        (1, ""),
        (2, ""),
        (3, "scattered-sample"),
    ]


@pytest.mark.parametrize("keep", [100, 512 + 3, 1024 + 512 + 100])
def test_a_shard_that_is_cut_off(tmp_path: Path, keep: int) -> None:
    path = write_tar(tmp_path / "s.tar", [("1.json", b"{}"), ("1.jpg", b"x" * 400)])
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match="not a readable tar file"):
        raw(path)
