"""Launchers that are real processes, killed ones among them, and what is left of their logs."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.wait import wait_until
from tests.unit.log_archive.launcher import start

SECRET = "wJalrXUtnFEMI/K7MDENG"
SPEAKS_AND_WAITS = f"""
import sys, time
print("step 1 with {SECRET}", flush=True)
print("a warning", file=sys.stderr, flush=True)
time.sleep(600)
"""

Launch = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def launch(tmp_path: Path) -> Launch:
    def launched(
        rank: str, *, artifacts: str = str(tmp_path / "store"), **env: str
    ) -> subprocess.Popen[str]:
        env = {"AWS_SECRET_ACCESS_KEY": SECRET, **env}
        return start(tmp_path, rank, artifacts={"uri": artifacts}, **env)

    return launched


def kept(folder: Path) -> list[str]:
    """Lines of the one log there, without their times."""
    pieces = sorted(folder.rglob("logs/attempt-2/node-1/*/*.log"))
    assert len({piece.parent for piece in pieces}) <= 1
    text = "".join(piece.read_text() for piece in pieces)
    return [line.split(" ", 1)[1] for line in text.splitlines()]


def test_of_a_killed_launcher_the_log_is_there_up_to_the_last_write(
    launch: Launch, tmp_path: Path
) -> None:
    process = launch(SPEAKS_AND_WAITS)
    child = ""
    try:
        wait_until(lambda: len(kept(tmp_path)) == 3, timeout=120, what="three lines in the store")
        child = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        process.send_signal(signal.SIGKILL)
        assert process.wait(timeout=600) == -signal.SIGKILL
    finally:
        process.kill()
        for pid in child.split():
            os.kill(int(pid), signal.SIGKILL)
    assert kept(tmp_path)[0] == "the launcher starts"
    assert sorted(kept(tmp_path)[1:]) == ["a warning", "step 1 with ***"]
    assert process.communicate() == (f"the launcher starts\nstep 1 with {SECRET}\n", "a warning\n")


def test_all_that_is_written_reaches_the_console_and_the_store(
    launch: Launch, tmp_path: Path
) -> None:
    rank = "import sys\nfor i in range(20_000): print('line', i)\nsys.exit(7)"
    out, err = (process := launch(rank)).communicate(timeout=300)
    assert process.returncode == 7
    lines = [f"line {number}" for number in range(20_000)]
    assert out.splitlines() == ["the launcher starts", *lines]
    assert err == "the rank ended with 7\n"
    assert kept(tmp_path) == ["the launcher starts", *lines, "the rank ended with 7"]


def test_a_store_that_fails_ends_nothing_and_is_told(launch: Launch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    process = launch("print('step 1')", artifacts=str(tmp_path / "file"))
    out, err = process.communicate(timeout=300)
    assert (process.returncode, out) == (0, "the launcher starts\nstep 1\n")
    assert "cannot store this node's log" in err
    assert "are not at" in err


def test_a_broken_job_file_ends_nothing(launch: Launch, tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("{")
    process = launch("print('step 1')", MMRLHF_JOB=str(tmp_path / "broken.json"))
    out, err = process.communicate(timeout=300)
    assert (process.returncode, out) == (0, "the launcher starts\nstep 1\n")
    assert "broken.json" in err


def test_files_of_processes_on_a_laptop_are_kept_too(launch: Launch, tmp_path: Path) -> None:
    rank = """
import os, pathlib, sys
folder = pathlib.Path(os.environ["PET_LOG_DIR"]) / "run_x" / "attempt_0" / "0"
folder.mkdir(parents=True)
(folder / "stdout.log").write_text("step 1\\n")
(folder / "stderr.log").write_text("a warning\\n")
"""
    folder = tmp_path / "redirected"
    process = launch(rank, PET_REDIRECTS="3", PET_LOG_DIR=str(folder))
    assert process.communicate(timeout=300) == ("the launcher starts\n", "the rank ended with 0\n")
    assert sorted(kept(tmp_path)) == [
        "a warning",
        "step 1",
        "the launcher starts",
        "the rank ended with 0",
    ]


def test_a_job_may_keep_no_logs(launch: Launch, tmp_path: Path) -> None:
    process = launch("print('step 1')", MMRLHF_KEEP_LOGS="0")
    assert process.communicate(timeout=300)[0] == "the launcher starts\nstep 1\n"
    assert kept(tmp_path) == []
