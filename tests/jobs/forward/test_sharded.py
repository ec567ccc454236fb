"""The scorer under ZeRO-3, with media on one process and none on the other."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.jobs.forward import sharded_worker
from tests.jobs.models.zoo import save
from tests.jobs.warm import Program


@pytest.mark.parametrize(
    ("family", "features"),
    [("llava_onevision", "joined"), ("llava_onevision", "kept"), ("qwen3_5", "joined")],
)
def test_zero3_with_uneven_media_trains_as_one_process_does(
    tiny: Path, tmp_path: Path, family: str, features: str
) -> None:
    """Gathers must match on all processes, or they wait for each other for ever.

    So they must in layers that carry a state, which run twice.
    """
    if family != "llava_onevision":
        tiny = save(family, tmp_path / family, scale=2.0)
    worker = sharded_worker.__name__
    arguments = [str(tiny), str(tmp_path), features]
    program = Program(worker, arguments, os.environ, processes=2)
    try:
        _, errors = program.communicate(timeout=900)
    finally:
        program.kill()
    assert program.wait() == 0, errors[-3000:]
    expected = sharded_worker.losses_alone(tiny)
    runs = []
    for rank in (0, 1):
        found = json.loads((tmp_path / f"{rank}.json").read_text())
        alone = [step[rank] for step in expected]
        assert len(set(alone)) == 3
        assert found["losses"] == pytest.approx(alone, rel=1e-5)
        runs.append((found["misses"], found["hits"]))
    # Misses and hits: image and film on one process; two images together and film on the other.
    assert runs == ([(2, 4), (2, 0)] if features == "kept" else [(0, 0)] * 2)
