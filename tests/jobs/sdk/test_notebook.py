"""The notebook runs from its first cell to its last, and says what its text says."""

from __future__ import annotations

import os
import re
from pathlib import Path

from tests.jobs.warm import Program

ROOT = Path(__file__).resolve().parents[3]
NOTEBOOK = ROOT / "examples/notebooks/align.ipynb"


def test_the_notebook_runs(tmp_path: Path) -> None:
    env = {**os.environ, "TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    program = Program("tests.jobs.sdk.notebook", [str(NOTEBOOK)], env, folder=ROOT)
    output, errors = program.communicate(timeout=1500)
    assert program.wait() == 0, errors
    lines = output.splitlines()
    assert re.match(r"16 records, \d+ pairs, 0 invalid rows", lines[0])
    assert "0.6931" in lines  # log 2: the model against itself
    steps = re.search(r"(\d+) steps, margin (\S+) to (\S+)", output)
    assert steps is not None
    assert int(steps[1]) == 8
    assert float(steps[3]) > float(steps[2])
    ordered = re.search(r"(\d+) of (\d+) pairs", output)
    assert ordered is not None
    assert int(ordered[1]) > int(ordered[2]) / 2
