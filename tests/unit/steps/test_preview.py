"""A dry run of an import: what it shows, and that it writes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmrlhf_jobs.__main__ import main
from tests.unit.data.public_files import write_media, write_public_file


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def test_a_dry_run_shows_who_says_what(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_media(tmp_path)
    source = write_public_file(tmp_path, "trl")
    before = files(tmp_path)
    line = ["import", "trl", str(source), str(tmp_path / "out.jsonl"), "--dry-run", "--rows", "4"]
    assert main(line) == 0
    shown = capsys.readouterr().out
    assert "system: Be brief.\nuser: Hello.\nassistant: Hi.\nuser: What color is the sky?" in shown
    assert "user: Is <image> the same as <image>?" in shown
    assert "-- rank 1: Yes." in shown
    assert "-- rank 2: No." in shown
    assert "-- medium image.png: image" in shown
    assert files(tmp_path) == before


def test_a_dry_run_saves_no_embedded_image_and_reads_no_further(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_public_file(tmp_path, "rlaif-v")
    before = files(tmp_path)
    assert main(["import", "rlaif-v", str(source), str(tmp_path / "o.jsonl"), "--dry-run"]) == 0
    assert "embedded/" in capsys.readouterr().out
    assert files(tmp_path) == before
    assert not (tmp_path / "embedded").exists()


def test_foreign_text_cannot_steer_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "x.jsonl"
    source.write_text('{"prompt": "a\\u001b[2Jb", "chosen": "c", "rejected": "d"}\n')
    assert main(["import", "trl", str(source), str(tmp_path / "o.jsonl"), "--dry-run"]) == 0
    assert "\x1b" not in capsys.readouterr().out
