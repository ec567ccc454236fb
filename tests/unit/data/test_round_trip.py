"""JSONL and Parquet hold the same records, and both have one canonical form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmrlhf_jobs.data.arrow_schema import record_schema
from mmrlhf_jobs.data.dataset import RankedDataset
from mmrlhf_jobs.data.records import RankedResponse
from mmrlhf_jobs.data.sources import Source
from mmrlhf_jobs.data.writers import to_json_line, write_records
from mmrlhf_jobs.errors import DataError
from tests.unit.data.builders import IMAGE_SHA256, make_fields, make_record, save_image

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(
    lambda text: bool(text.strip())
)
numbers = st.integers(-(2**63), 2**63 - 1)
floats = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def records(draw: st.DrawFn) -> RankedResponse:
    n = draw(st.integers(2, 4))
    answers = draw(st.lists(texts, min_size=n, max_size=n, unique_by=str.strip))
    fields = make_fields("r", range(1, n + 1))
    for response, text in zip(fields["responses"], answers, strict=True):
        response["text"] = text
    optional: dict[str, Any] = {
        "source": {"row_id": draw(texts), "turn_index": draw(numbers)},
        "selection": {"run_id": draw(st.text(max_size=3)), "dist": draw(floats)},
        "annotations": [
            {"annotator_id": "x", "role": "llm", "ranks": {"b": draw(numbers), "a": 1}},
            {"annotator_id": "y", "role": "reviewer"},
        ],
        "provenance": {"seeds": {}, "parents": [draw(st.text(max_size=3))], "inputs": []},
        "tie": "none",
        "resolution": {"method": "single"},
    }
    for name in draw(st.sets(st.sampled_from(sorted(optional)))):
        fields[name] = optional[name]
    fields["query"] = {"text": draw(texts), "options": draw(st.lists(st.text(max_size=3)))}
    fields["responses"][0] |= {
        "scores": draw(
            st.sampled_from([{}, dict.fromkeys(("faithfulness", "helpfulness", "ethics"), 5)])
        ),
        "model": {"name": "m", "params": {"temperature": draw(floats)}, "usage": {}},
        "critique": {"human": draw(texts)},
        "duplicates": [{"response_id": "other"}],
    }
    return RankedResponse.model_validate(fields)


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(record=records())
def test_a_record_survives_both_formats_byte_for_byte(
    tmp_path: Path, record: RankedResponse
) -> None:
    save_image(tmp_path)
    line = to_json_line(record)
    assert to_json_line(RankedResponse.model_validate_json(line)) == line
    for name in ("x.parquet", "x.jsonl"):
        uri = str(tmp_path / name)
        assert write_records([record], uri) == 1
        data = RankedDataset.open(Source(uri))
        (batch,) = data.batches(seed=0, epoch=0, batch_size=1)
        assert batch == [record]
        assert to_json_line(batch[0]) == line


def test_large_parquet_files_have_small_row_groups(tmp_path: Path) -> None:
    record = make_record(query={"text": "x" * 200_000})
    assert write_records([record] * 12, str(tmp_path / "x.parquet")) == 12
    assert pq.ParquetFile(tmp_path / "x.parquet").num_row_groups == 2


def test_parquet_of_writers_without_maps_or_optional_columns_is_read(tmp_path: Path) -> None:
    save_image(tmp_path)
    fields = make_fields(domain="safety", type=None)
    fields["ranking"] = {"ranks": [{"key": "a", "value": 2}, {"key": "b", "value": 1}]}
    pq.write_table(pa.Table.from_pylist([fields]), tmp_path / "x.parquet")
    data = RankedDataset.open(Source(str(tmp_path)))
    (batch,) = data.batches(seed=0, epoch=0, batch_size=1)
    assert batch[0].ranks == (2, 1)
    assert batch[0].type is None


def test_an_unknown_parquet_column_is_told(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist([make_fields(surplus=1)]), tmp_path / "x.parquet")
    with pytest.raises(DataError, match=r"x.parquet, field surplus: unknown column"):
        RankedDataset.open(Source(str(tmp_path)))


def test_every_field_has_a_column() -> None:
    assert record_schema().names == [
        field.alias or name for name, field in RankedResponse.model_fields.items()
    ]


def test_canonical_lines_leave_defaults_out() -> None:
    assert set(json.loads(to_json_line(make_record()))) == {
        "schema", "record_id", "domain", "type", "query", "media", "responses", "ranking",
    }  # fmt: skip
    assert json.loads(to_json_line(make_record()))["media"] == [
        {"uri": "image.png", "sha256": IMAGE_SHA256}
    ]


def test_the_name_must_tell_the_format(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"name the file"):
        write_records([], str(tmp_path / "x.csv"))


def test_a_failing_writer_leaves_nothing_behind(tmp_path: Path) -> None:
    def rows() -> Any:
        yield make_record()
        raise KeyError("stop")

    for name in ("x.jsonl", "x.parquet"):
        with pytest.raises(KeyError):
            write_records(rows(), str(tmp_path / name))
    assert list(tmp_path.iterdir()) == []
