"""How much memory is free, by the container's limit."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from mmrlhf_jobs.process.free_memory import free_memory


@pytest.mark.parametrize(
    ("limit", "used", "files", "free"),
    [
        ("1000", "700", "100", 400),
        ("1000", "1100", "0", 0),
        ("9000", "100", "0", 5000),
        ("max", "700", "100", 5000),
        (None, "700", "100", 5000),
    ],
)
def test_the_smaller_of_machine_and_container(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    limit: str | None,
    used: str,
    files: str,
    free: int,
) -> None:
    class Memory:
        available = 5000

    monkeypatch.setattr(psutil, "virtual_memory", Memory)
    if limit is not None:
        (tmp_path / "memory.max").write_text(limit + "\n")
    (tmp_path / "memory.current").write_text(used + "\n")
    (tmp_path / "memory.stat").write_text(f"anon 5\ninactive_file {files}\n")
    assert free_memory(tmp_path) == free
