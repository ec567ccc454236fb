from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmrlhf_jobs.errors import SidecarError
from mmrlhf_jobs.scores.file_format import schema
from mmrlhf_jobs.scores.keys import SidecarIdentity, content_key, record_keys
from mmrlhf_jobs.scores.table import Sidecar
from mmrlhf_jobs.scores.writer import SidecarWriter, merge
from tests.unit.data.builders import make_record

IDENTITY = SidecarIdentity("reference", template="t1", model="m1", image_settings="i1")
KEYS = [content_key("q", ["0" * 64], f"answer {number}") for number in range(200)]


def write(
    path: Path,
    values: dict[int, float],
    identity: SidecarIdentity = IDENTITY,
) -> str:
    """A side-car with these values for the keys of these numbers, in this order."""
    with SidecarWriter(str(path), identity) as writer:
        for number, value in values.items():
            writer.write([KEYS[number]], [value], record_id=f"r{number}", response_ids=["a"])
    return str(path)


@given(st.text(), st.lists(st.text(max_size=3)), st.text(), st.text())
def test_keys_differ_when_anything_differs(
    query: str, media: list[str], response: str, other: str
) -> None:
    key = content_key(query, media, response)
    assert len(key) == 32
    assert key == content_key(query, tuple(media), response)
    assert (key == content_key(query, media, other)) == (response == other)
    assert key != content_key(query, [*media, ""], response)
    assert key != content_key(query + "x", media, response)
    assert (key == content_key(query, media[::-1], response)) == (media == media[::-1])


def test_record_keys_are_those_of_its_responses_in_order() -> None:
    record = make_record(ranks=(2, 1))
    assert record_keys(record) == [
        content_key(record.query.text, record.media_sha256s, response.text)
        for response in record.responses
    ]


@pytest.mark.parametrize("place", ["local", "memory"])
def test_values_are_found_by_key_in_any_order(tmp_path: Path, place: str) -> None:
    path = str(tmp_path / "x.parquet") if place == "local" else "memory://sidecars/x.parquet"
    with SidecarWriter(path, IDENTITY) as writer:
        for start in range(0, 200, 4):
            writer.write(
                KEYS[start : start + 4],
                np.arange(start, start + 4) / 7,
                record_id=f"r{start}",
                response_ids=list("abcd"),
            )
    sidecar = Sidecar.open(path, IDENTITY)
    assert len(sidecar) == 200
    numbers = [17, 0, 199, 17]
    found = sidecar.lookup([KEYS[number] for number in numbers])
    assert found.dtype == np.float64
    assert found.tolist() == [number / 7 for number in numbers]
    assert sidecar.lookup([]).tolist() == []


def test_keys_that_end_with_zero_bytes_are_keys(tmp_path: Path) -> None:
    keys = [bytes([1]) + bytes(31), bytes([1]) + bytes(30) + bytes([1]), bytes(32)]
    with SidecarWriter(str(tmp_path / "x"), IDENTITY) as writer:
        writer.write(keys, [1.0, 2.0, 3.0], record_id="r", response_ids=list("abc"))
    found = Sidecar.open(str(tmp_path / "x"), IDENTITY).lookup(keys)
    assert found.tolist() == [1.0, 2.0, 3.0]


def test_a_missing_response_is_named(tmp_path: Path) -> None:
    sidecar = Sidecar.open(write(tmp_path / "x", {0: 1.0, 1: 2.0}), IDENTITY)
    with pytest.raises(SidecarError, match=rf"x: has no value for .*{KEYS[5].hex()} \(2 of 3"):
        sidecar.lookup([KEYS[0], KEYS[5], KEYS[6]])
    with pytest.raises(SidecarError, match="has no value for record 'r5', response 'a'"):
        sidecar.lookup([KEYS[0], KEYS[5]], names=["", "record 'r5', response 'a'"])


@pytest.mark.parametrize(
    ("field", "value"),
    [("kind", "reward"), ("template", "t2"), ("model", "m2"), ("image_settings", "i2")],
)
def test_another_identity_is_told_with_file_field_and_both_values(
    tmp_path: Path, field: str, value: str
) -> None:
    path = write(tmp_path / "x.parquet", {0: 1.0})
    expected = replace(IDENTITY, **{field: value})  # type: ignore[arg-type]
    with pytest.raises(SidecarError) as caught:
        Sidecar.open(path, expected)
    for part in (path, field, repr(value), repr(getattr(IDENTITY, field)), "compute the side-car"):
        assert part in str(caught.value)


def test_fields_that_are_not_asked_for_are_not_compared(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", {0: 1.0})
    assert Sidecar.open(path, SidecarIdentity("reference")).identity == IDENTITY
    silent = write(tmp_path / "y.parquet", {0: 1.0}, SidecarIdentity("reference"))
    with pytest.raises(SidecarError, match="template is None"):
        Sidecar.open(silent, IDENTITY)


def raw_file(path: Path, rows: list[dict[str, Any]], metadata: Any = None) -> str:
    table = pa.Table.from_pylist(rows, schema=schema(IDENTITY))
    if metadata is not None:
        table = table.replace_schema_metadata(metadata)
    pq.write_table(table, path)
    return str(path)


ROW = {"key": KEYS[0], "value": 1.0, "record_id": "r", "response_id": "a"}


@pytest.mark.parametrize(
    ("rows", "metadata", "reason"),
    [
        ([ROW], {}, "no side-car of mmrlhf"),
        ([ROW], {"mmrlhf.sidecar": '{"version": 2}'}, "version 2 is not supported"),
        ([ROW], {"mmrlhf.sidecar": '{"version": 1, "identity": {"kind": "x"}}'}, "exactly the fie"),
        ([{**ROW, "value": float("nan")}], None, "row 1: value nan is not finite"),
        ([{**ROW, "value": None}], None, "hold a null"),
        ([ROW, {**ROW, "value": 2.0}], None, "1 responses have two different values"),
    ],
)
def test_files_of_other_makers_are_refused(
    tmp_path: Path, rows: list[dict[str, Any]], metadata: Any, reason: str
) -> None:
    with pytest.raises(SidecarError, match=reason):
        Sidecar.open(raw_file(tmp_path / "x.parquet", rows, metadata), IDENTITY)


def test_missing_and_damaged_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(SidecarError, match="there is no side-car file"):
        Sidecar.open(str(tmp_path / "x.parquet"), IDENTITY)
    (tmp_path / "x.parquet").write_bytes(b"PAR1 but no more")
    with pytest.raises(SidecarError, match="not a readable Parquet file"):
        Sidecar.open(str(tmp_path / "x.parquet"), IDENTITY)
    pq.write_table(pa.table({"key": [1]}, metadata=schema(IDENTITY).metadata), tmp_path / "y")
    with pytest.raises(SidecarError, match="its columns are"):
        Sidecar.open(str(tmp_path / "y"), IDENTITY)


def test_the_same_value_twice_is_no_clash(tmp_path: Path) -> None:
    sidecar = Sidecar.open(raw_file(tmp_path / "x", [ROW, ROW]), IDENTITY)
    assert sidecar.lookup([KEYS[0]]).tolist() == [1.0]


def test_a_writer_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(SidecarError, match=r"record 'r', response 'b' is nan"),
        SidecarWriter(str(tmp_path / "x"), IDENTITY) as writer,
    ):
        writer.write(KEYS[:2], [1.0, float("nan")], record_id="r", response_ids=["a", "b"])
    assert list(tmp_path.iterdir()) == []


def test_parts_merge_to_one_file_sorted_by_key(tmp_path: Path) -> None:
    parts = [
        write(tmp_path / f"part-{rank}", {n: n / 3 for n in range(rank, 200, 3)})
        for rank in range(3)
    ]
    parts.append(write(tmp_path / "part-3", {5: 5 / 3}))
    out = str(tmp_path / "all.parquet")
    assert merge(parts, out) == 200
    keys = pq.read_table(out)["key"].to_pylist()
    assert keys == sorted(KEYS)
    sidecar = Sidecar.open(out, IDENTITY)
    assert sidecar.lookup(KEYS).tolist() == [n / 3 for n in range(200)]
    again = str(tmp_path / "again.parquet")
    assert merge(parts[::-1], again) == 200
    assert pq.read_table(out).drop(["record_id"]) == pq.read_table(again).drop(["record_id"])


def test_parts_without_rows_merge(tmp_path: Path) -> None:
    parts = [write(tmp_path / "a", {}), write(tmp_path / "b", {})]
    assert merge(parts, str(tmp_path / "out")) == 0
    assert len(Sidecar.open(str(tmp_path / "out"), IDENTITY)) == 0


def test_values_that_differ_by_more_than_the_tolerance_are_an_error(tmp_path: Path) -> None:
    parts = [write(tmp_path / "a", {0: -200.0, 1: 1.0}), write(tmp_path / "b", {0: -200.1, 2: 3.0})]
    out = tmp_path / "out"
    with pytest.raises(SidecarError, match=r"1 values differ .* record r0, response a: .*-200"):
        merge(parts, str(out))
    with pytest.raises(SidecarError, match="differ"):
        merge(parts, str(out), tolerance=1e-4)
    assert not out.exists()
    assert merge(parts, str(out), tolerance=1e-3) == 3
    assert Sidecar.open(str(out), IDENTITY).lookup([KEYS[0]]).tolist() == [-200.0]


def test_parts_of_different_identity_do_not_merge(tmp_path: Path) -> None:
    parts = [
        write(tmp_path / "a", {0: 1.0}),
        write(tmp_path / "b", {1: 1.0}, replace(IDENTITY, model="m2")),
    ]
    with pytest.raises(SidecarError, match=r"b: made with .*m2.* but .*a with"):
        merge(parts, str(tmp_path / "out"))
    with pytest.raises(SidecarError, match="no side-cars to merge"):
        merge([], str(tmp_path / "out"))
