"""The scorer under ZeRO-3, with media on one process and none on the other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.jobs.forward import sharded_worker

ROOT = Path(__file__).parents[3]


def test_zero3_with_uneven_media_trains_as_one_process_does(tiny: Path, tmp_path: Path) -> None:
    """Gathers must match on all processes, or they wait for each other for ever."""
    done = subprocess.run(
        [
            *(sys.executable, "-W", "ignore", "-m", "torch.distributed.run"),
            *("--standalone", "--nproc-per-node", "2"),
            *("-m", "tests.jobs.forward.sharded_worker", str(tiny), str(tmp_path)),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    expected = sharded_worker.losses_alone(tiny, 3)
    for rank in (0, 1):
        losses = json.loads((tmp_path / f"{rank}.json").read_text())
        alone = [step[rank] for step in expected]
        assert len(set(alone)) == 3
        assert losses == pytest.approx(alone, rel=1e-5)
