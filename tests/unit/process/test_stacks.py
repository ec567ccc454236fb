"""A process that hangs when it is asked to stop says where."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

HANGS = """
import sys, threading
from mmrlhf_jobs.process.interruption import Interruption
from mmrlhf_jobs.process.stacks import listen_for_dumps

def never_returns():
    lock = threading.Lock()
    lock.acquire()
    while True:
        lock.acquire(timeout=3600)

Interruption().listen()
listen_for_dumps(seconds=float(sys.argv[1]))
print("ready", flush=True)
if sys.argv[2] == "hang":
    never_returns()
sys.stdin.read()
"""


def start(tmp_path: Path, *arguments: str) -> subprocess.Popen[str]:
    script = tmp_path / "hangs.py"
    script.write_text(HANGS)
    process = subprocess.Popen(
        [sys.executable, str(script), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_one_that_hangs_when_it_is_asked_to_stop_tells_its_stacks(tmp_path: Path) -> None:
    process = start(tmp_path, "0.05", "hang")
    try:
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        for line in process.stderr:  # until it is told
            if "never_returns" in line:
                break
        else:
            raise AssertionError("the process ended and told nothing")
    finally:
        process.kill()
        process.communicate()


def test_one_that_ends_in_time_tells_nothing(tmp_path: Path) -> None:
    process = start(tmp_path, "3600", "end")
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate("")
    assert (process.returncode, told) == (0, "")
