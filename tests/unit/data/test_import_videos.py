"""Video files of public data become frames: as many as asked, spread over it, in their order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mmrlhf_jobs.__main__ import main
from mmrlhf_jobs.data.media import load_media
from mmrlhf_jobs.data.records import RankedResponse
from mmrlhf_jobs.data.sources import Source
from mmrlhf_jobs.data.stream import stream_records
from tests.unit.data.builders import IMAGE, write_rows
from tests.unit.sampling.pictures import video

GREYS = [(level, level, level) for level in range(0, 200, 20)]
"""Ten frames, each lighter than the one before, 100 ms apart."""


def pair(**media: Any) -> dict[str, Any]:
    return {
        "messages": [{"role": "user", "content": "<video>What happens?"}],
        "chosen": {"role": "assistant", "content": "It brightens."},
        "rejected": {"role": "assistant", "content": "Nothing."},
        **media,
    }


@pytest.fixture
def source(tmp_path: Path) -> str:
    (tmp_path / "clip.mp4").write_bytes(video(GREYS))
    (tmp_path / "cut.mp4").write_bytes(video(GREYS)[:200])
    (tmp_path / "image.png").write_bytes(IMAGE)
    return str(write_rows(tmp_path / "rows.jsonl", [pair(videos=["clip.mp4"])]))


def bring(
    source: str, capsys: pytest.CaptureFixture[str], *more: str, form: str = "llama-factory"
) -> tuple[dict[str, Any], list[RankedResponse]]:
    """Report and records of an import."""
    out = str(Path(source).with_suffix(".out.jsonl"))
    assert main(["import", form, source, out, *more]) == 0
    return json.loads(capsys.readouterr().out), list(stream_records(Source(out)))


def levels(record: RankedResponse, root: Path) -> list[float]:
    """How light each frame is."""
    (medium,) = load_media(record, str(root))
    assert medium.kind == "frames"
    return [float(sum(frame.getpixel((5, 5))) / 3) for frame in medium.frames]  # type: ignore[arg-type]


def test_frames_are_spread_from_the_first_to_the_last(
    source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report, (record,) = bring(source, capsys, "--frames=4")
    assert (report["decoded_videos"], record.domain) == (1, "video")
    (medium,) = record.media
    assert medium.uri == "clip.mp4"
    assert [frame.pts_ms for frame in medium.frames] == [0, 300, 600, 900]
    assert levels(record, tmp_path) == pytest.approx([0, 60, 120, 180], abs=6)


@pytest.mark.parametrize(("most", "count"), [(1, 1), (10, 10), (32, 10)])
def test_a_video_gives_no_more_than_it_has(
    source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], most: int, count: int
) -> None:
    _, (record,) = bring(source, capsys, f"--frames={most}")
    found = levels(record, tmp_path)
    assert len(found) == count
    assert found == sorted(found)


def test_a_dry_run_writes_no_frames(
    source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = set(tmp_path.rglob("*"))
    assert main(["import", "llama-factory", source, "x.jsonl", "--dry-run"]) == 0
    assert "user: <video>\nWhat happens?" in capsys.readouterr().out
    assert set(tmp_path.rglob("*")) == before


def test_a_broken_video_costs_its_row(
    source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [pair(videos=["clip.mp4"]), pair(videos=["cut.mp4"]), pair(videos=["gone.mp4"])]
    write_rows(Path(source), rows)
    report, records = bring(source, capsys, "--max-invalid-fraction=0.7")
    assert (len(records), report["left_out"]) == (1, {"media": 2})


def test_it_goes_out_and_comes_back(
    source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, (record,) = bring(source, capsys)
    records = str(Path(source).with_suffix(".out.jsonl"))
    for form in ("dpo-pairs", "llama-factory"):
        back = str(tmp_path / f"{form}.jsonl")
        assert main(["export", form, records, back]) == 0
        capsys.readouterr()
        _, (again,) = bring(back, capsys, form=form)
        assert again.media_sha256s == record.media_sha256s


def test_a_list_of_images_is_one_video_in_its_order(
    source: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for number in (2, 10):
        (tmp_path / f"{number}.png").write_bytes(IMAGE + bytes([number]))
    row = {"prompt": "What?", "video": ["10.png", "2.png"], "chosen": "A", "rejected": "B"}
    write_rows(Path(source), [row])
    _, (record,) = bring(source, capsys, form="dpo-pairs")
    (medium,) = record.media
    assert [frame.uri for frame in medium.frames] == ["10.png", "2.png"]
