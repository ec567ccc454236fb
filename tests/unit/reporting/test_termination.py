"""The termination file: first writer wins, 4 KiB, empty files of the kubelet."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmrlhf_jobs.reporting.termination import MAX_BYTES, write_termination


def write(path: Path, message: str, *, exit_code: int = 2) -> None:
    write_termination(
        exit_code=exit_code,
        reason="InvalidInput",
        message=message,
        environ={"MMRLHF_TERMINATION_FILE": str(path)},
    )


def test_the_first_writer_wins(tmp_path: Path) -> None:
    path = tmp_path / "end.json"
    write(path, "first")
    write(path, "second", exit_code=1)
    assert json.loads(path.read_text()) == {
        "exitCode": 2,
        "reason": "InvalidInput",
        "message": "first",
    }
    assert list(tmp_path.iterdir()) == [path], "no temporary file is left"


def test_an_empty_file_is_the_kubelets_and_is_filled(tmp_path: Path) -> None:
    path = tmp_path / "termination-log"
    path.touch()
    write(path, "told")
    assert json.loads(path.read_text())["message"] == "told"


@pytest.mark.parametrize("letter", ["x", "\u00e9", "\n"])
def test_long_messages_are_cut_to_what_kubernetes_keeps(tmp_path: Path, letter: str) -> None:
    path = tmp_path / "end.json"
    write(path, letter * 10_000)
    content = path.read_bytes()
    assert MAX_BYTES - 64 < len(content) <= MAX_BYTES
    assert json.loads(content)["message"].endswith("...")


def test_without_a_file_nothing_is_written(tmp_path: Path) -> None:
    write_termination(exit_code=1, reason="X", message="y", environ={})
    assert not list(tmp_path.iterdir())
