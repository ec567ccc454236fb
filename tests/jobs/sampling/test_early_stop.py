"""A job whose data are bad ends while it reads or embeds, not after hours of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.sampling.corpora import reading
from tests.jobs.sampling.encoders import save_clip
from tests.jobs.sampling.here import sample_here, short_answers
from tests.unit.sampling.corpora import llava, write_lines
from tests.unit.sampling.pictures import encoded, noise


def job(folder: Path, **failures: Any) -> dict[str, Any]:
    return short_answers(folder, target=4, **failures)


def parts(folder: Path, stage: str) -> int:
    return len(list((folder / "artifacts").glob(f"default/choose/*/work/{stage}/*/*/COMMITTED")))


def test_not_all_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for number in range(9):
        write_lines(tmp_path / "data" / f"{number}.jsonl", [b"x" * 99] * 50)
    with pytest.raises(DataError, match="rows cannot be used") as caught:
        sample_here(job(tmp_path), tmp_path / "scratch")
    read = parts(tmp_path, "rows")
    assert read < 5
    assert f"{50 * read} of {50 * read} rows cannot be used ({50 * read} invalid-json)" in str(
        caught.value
    )
    assert f"{tmp_path}/data/" in str(caught.value)
    # A budget of its own that allows nothing is passed by the first row of all.
    failures = {"maxFraction": 1.0, "perReason": {"invalid-json": 0.0}}
    with pytest.raises(DataError, match=r"perReason\[invalid-json\]: 50 of 50"):
        sample_here(job(tmp_path, **failures), tmp_path / "scratch")


def test_not_all_media_are_embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 10 blocks of 4 rows the first two are good; with 0.1 of the rows it ends at the fourth,
    having seen 8 of 40 that are bad."""
    monkeypatch.setattr(reading, "BLOCK_ROWS", 4)
    save_clip(tmp_path / "clip")
    (tmp_path / "data").mkdir()
    rows = [llava(str(n), f"What is {n}?", "that", image=f"{n}.png") for n in range(40)]
    write_lines(tmp_path / "data" / "a.jsonl", rows)
    for number in (*range(8), *range(16, 40)):
        (tmp_path / "data" / f"{number}.png").write_bytes(encoded(noise(9, 9, number)))
    with pytest.raises(DataError) as caught:
        sample_here(job(tmp_path, maxFraction=0.19), tmp_path / "scratch")
    assert "8 of 40 rows cannot be used (8 missing-file), more than the 0.19" in str(caught.value)
    assert f"a.jsonl has 8 (missing-file; row 9: {tmp_path}/data/8.png" in str(caught.value)
    assert (parts(tmp_path, "media"), parts(tmp_path, "candidates")) == (4, 4)
    # A larger budget lets it end, two blocks without any candidate and all.
    events = sample_here(job(tmp_path, maxFraction=0.2), tmp_path / "scratch")
    assert events[-1]["metrics"]["rowsSelected"] == 4
    ends = [event["etaSeconds"] for event in events if "etaSeconds" in event]
    assert ends
    assert ends[-1] == 0
    assert parts(tmp_path, "media") == 4 + 10  # in a folder of its own
