"""The scorer under ZeRO-3, with media on one process and none on the other."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.jobs.forward import sharded_worker
from tests.jobs.warm import Program


def test_zero3_with_uneven_media_trains_as_one_process_does(tiny: Path, tmp_path: Path) -> None:
    """Gathers must match on all processes, or they wait for each other for ever."""
    worker = sharded_worker.__name__
    program = Program(worker, [str(tiny), str(tmp_path)], os.environ, processes=2)
    _, errors = program.communicate()
    assert program.wait() == 0, errors[-3000:]
    expected = sharded_worker.losses_alone(tiny, 3)
    for rank in (0, 1):
        losses = json.loads((tmp_path / f"{rank}.json").read_text())
        alone = [step[rank] for step in expected]
        assert len(set(alone)) == 3
        assert losses == pytest.approx(alone, rel=1e-5)
