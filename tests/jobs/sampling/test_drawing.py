"""The report comes last: neither it nor the lack of its package costs what was chosen."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from mmrlhf_jobs.errors import SpecError, StorageError
from tests.jobs.sampling.here import sample_here
from tests.jobs.sampling.world import SamplingWorld


def test_a_map_without_its_package_is_refused_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    world = SamplingWorld(tmp_path, str(tmp_path / "artifacts"))
    with pytest.raises(SpecError, match=r"spec\.report\.map.*install mmrlhf\[sample\], or set"):
        sample_here(world.job(report={"map": True}), tmp_path / "scratch")
    assert not Path(world.artifacts).exists()


def test_what_was_chosen_is_there_though_the_report_cannot_be_drawn(tmp_path: Path) -> None:
    world = SamplingWorld.make(tmp_path / "world", images=24)
    job = world.job(target=8, clustering={"centres": 3})
    sample_here(job, tmp_path / "scratch")
    digest, results = world.digest(), world.results()
    assert not (results / "map.parquet").exists()
    assert "<h2>Map</h2>" not in (results / "report.html").read_text()
    for path in results.glob("*.*"):
        path.unlink()
    (results / "report.html" / "in the way").mkdir(parents=True)
    with pytest.raises(StorageError, match=r"report\.html"):
        sample_here(job, tmp_path / "scratch")
    assert len(world.queries()) == 8
    assert not (results / "manifest.json").exists()
    (results / "report.html" / "in the way").rmdir()
    (results / "report.html").rmdir()
    sample_here(job, tmp_path / "scratch")
    assert world.digest() == digest
    manifest = json.loads((results / "manifest.json").read_text())
    assert [one["exit"] for one in manifest["attempts"]] == ["StorageError", "Succeeded"]
