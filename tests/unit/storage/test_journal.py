"""Results that outlive a kill."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from mmrlhf_jobs.errors import InputError, StorageError
from mmrlhf_jobs.storage.journal import Journal


def test_what_was_put_is_there_for_the_next_run(tmp_path: Path) -> None:
    with Journal(tmp_path / "new" / "a.journal") as journal:
        journal.put("k", {"text": "\u00e9\n", "number": 1.5, "none": None})
        journal.put("l", {"text": "1"})
        journal.put("l", {"text": "2"})
    with Journal(f"file://{tmp_path}/new/a.journal") as journal:
        assert journal.get("k") == {"text": "\u00e9\n", "number": 1.5, "none": None}
        assert journal.get("l") == {"text": "2"}
        assert journal.get("m") is None
        assert len(journal) == 2


def test_a_killed_process_loses_nothing_that_it_put(tmp_path: Path) -> None:
    code = (
        "import sys; from mmrlhf_jobs.storage.journal import Journal\n"
        "journal = Journal(sys.argv[1])\n"
        "for n in range(10 ** 6):\n"
        "    journal.put(str(n), {'n': n}); print(n, flush=True)\n"
    )
    path = tmp_path / "a.journal"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    for line in process.stdout:
        if int(line) >= 20:
            break
    os.kill(process.pid, signal.SIGKILL)
    told = [int(line), *map(int, process.stdout.read().split())]
    process.wait()
    process.stdout.close()
    with Journal(path) as journal:
        assert journal.get(str(told[-1])) == {"n": told[-1]}
        assert len(journal) in (told[-1] + 1, told[-1] + 2)


def test_two_processes_may_share_one(tmp_path: Path) -> None:
    with Journal(tmp_path / "a") as one, Journal(tmp_path / "a") as other:
        one.put("k", {"n": 1})
        assert other.get("k") == {"n": 1}
        other.put("l", {"n": 2})
        assert one.get("l") == {"n": 2}


def test_a_file_that_another_process_is_opening_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, asked = tmp_path / "a", []
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("CREATE TABLE results (key TEXT PRIMARY KEY, value TEXT NOT NULL)")

        def wait(seconds: float) -> None:
            asked.append(seconds)
            other.execute("COMMIT")

        monkeypatch.setattr("mmrlhf_jobs.storage.journal._BUSY_SECONDS", 1e-3)
        monkeypatch.setattr("mmrlhf_jobs.storage.journal.time.monotonic", lambda: 0.0)
        monkeypatch.setattr("mmrlhf_jobs.storage.journal.time.sleep", wait)
        with Journal(path) as journal:
            journal.put("k", {"n": 1})
            assert journal.get("k") == {"n": 1}
    assert len(asked) == 1


def test_other_files_are_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("no journal " * 1000)
    with pytest.raises(InputError, match=r"notes.txt: cannot open it.*name another file"):
        Journal(path)
    assert path.read_text() == "no journal " * 1000
    with pytest.raises(InputError, match="must be on a local file system"):
        Journal("s3://bucket/a.journal")
    with pytest.raises(StorageError, match="cannot open"):
        Journal(tmp_path)
