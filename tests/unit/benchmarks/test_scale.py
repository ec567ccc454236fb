"""What a benchmark of the operator starts ends with it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from tests.cluster.wait import wait_until

PARENT = """
import sys, time
from benchmarks.scale.processes import start
print(start([sys.executable, "-c", "import time; time.sleep(600)"], log=sys.stderr).pid, flush=True)
time.sleep(600)
"""


def test_a_process_ends_with_a_benchmark_that_is_killed() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout:
        child = Path("/proc", parent.stdout.readline().strip())
    assert child.exists()
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_until(lambda: not child.exists() or _is_dead(child), timeout=60, what="its end")


def _is_dead(process: Path) -> bool:
    """Nobody may have waited for it: it stays as a zombie then."""
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
