"""One budget for what is wrong with rows, whichever step finds it; no row is lost in between."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from mmrlhf_api import DataSource
from mmrlhf_jobs.data.records import RankedResponse
from mmrlhf_jobs.data.sources import Source
from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.process.gang import Runtime
from mmrlhf_jobs.training.inputs import OpenDataset, leave_out, open_dataset
from tests.unit.data.builders import IMAGE, make_fields, save_image, write_rows

ALONE = Runtime(rank=0, world_size=1, device=torch.device("cpu"))


def write(folder: Path) -> Path:
    """13 rows: 5 sound, 3 of cut images, 1 too long, 2 no rows, 1 tie, 1 id twice; and a blank."""
    import hashlib

    save_image(folder)
    (folder / "cut.png").write_bytes(IMAGE[:45])
    media = [{"uri": "cut.png", "sha256": hashlib.sha256(IMAGE[:45]).hexdigest()}]
    rows: list[dict[str, Any] | bytes] = [make_fields(f"good{number}") for number in range(5)]
    rows[1:1] = [make_fields("cut0", media=media), b"", make_fields("long")]
    rows += [make_fields(f"cut{number}", media=media) for number in (1, 2)]
    rows += [b"{", b"[]", make_fields("tie", (1, 1)), make_fields("good0")]
    return write_rows(folder / "x.jsonl", rows)


def refuse_long(record: RankedResponse) -> None:
    if record.record_id == "long":
        raise DataError(
            "9 tokens, but the model takes 8",
            file=record.location.file,
            row=record.location.row,
            field="responses[0].text",
            fault="too-long",
        )


def opened(path: Path, fraction: float) -> OpenDataset:
    return open_dataset(
        DataSource(uri=str(path)),
        max_invalid_fraction=fraction,
        seed=0,
        runtime=ALONE,
        options=None,
    )


def checked(path: Path, fraction: float) -> OpenDataset:
    return leave_out(
        opened(path, fraction),
        refuse_long,
        max_invalid_fraction=fraction,
        runtime=ALONE,
        options=None,
    )


def test_faults_of_all_steps_are_left_out_and_counted_together(tmp_path: Path) -> None:
    dataset = checked(write(tmp_path), 0.6)
    report = dataset.report
    kept = sorted(record.record_id for record in dataset.records.share())
    assert kept == [f"good{number}" for number in range(5)]
    assert report.invalid == {"schema": 2, "duplicate": 1, "undecodable": 3, "too-long": 1}
    assert report.rows == len(kept) + sum(report.invalid.values()) + report.tied == 13
    assert report.num_records == dataset.records.num_records == len(kept)
    assert [problem.row for problem in report.problems] == [2, 4, 9, 10, 11, 12, 14]
    json.dumps(report.to_dict())


def test_all_faults_are_told_at_once_and_the_budget_decides(tmp_path: Path) -> None:
    path = write(tmp_path)
    with pytest.raises(DataError) as caught:
        checked(path, 0.5)
    told = str(caught.value)
    assert "7 of 12 rows are invalid, and maxInvalidFraction 0.5 allows 6" in told
    assert "3 undecodable, 2 schema, 1 duplicate, 1 too-long; 1 more are ties" in told
    for row in (2, 4, 9, 10, 11, 12, 14):
        assert f"x.jsonl, row {row}" in told
    assert "media[0].uri" in told
    assert "is not a readable image" in told


def test_no_row_left_is_an_error_at_any_budget(tmp_path: Path) -> None:
    def refuse(record: RankedResponse) -> None:
        raise DataError("no", file=record.location.file, row=record.location.row)

    dataset = opened(write(tmp_path), 1.0)
    with pytest.raises(DataError, match="12 of 12 rows are invalid"):
        leave_out(dataset, refuse, max_invalid_fraction=1.0, runtime=ALONE, options=None)


def test_rows_are_found_again_in_any_file_and_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mmrlhf_jobs.data import jsonl
    from mmrlhf_jobs.data.validation import scan

    monkeypatch.setattr(jsonl, "BLOCK_BYTES", 700)
    save_image(tmp_path)
    for name in "ab":
        write_rows(tmp_path / f"{name}.jsonl", [make_fields(f"{name}{n}") for n in range(7)])
    index, _ = scan(Source(str(tmp_path)))
    assert len(index) > 4
    for ordinal in range(14):
        assert index.ordinal(*index.locate(ordinal)) == ordinal
    assert index.without([3, 9]).num_records == 12
    assert index.without([3]).without([3, 4]).num_records == 12
