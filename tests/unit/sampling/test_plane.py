"""What an image brings along for the map, where numba finds it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmrlhf_jobs.sampling.report.plane import bring


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    (tmp_path / "shipped" / "umap").mkdir(parents=True)
    (tmp_path / "shipped" / "umap" / "layout.nbi").write_text("compiled")
    return tmp_path / "shipped"


@pytest.mark.parametrize("there", [False, True])
def test_what_an_image_has_compiled_is_where_numba_writes(shipped: Path, there: bool) -> None:
    folder = shipped.parent / "cache" / "numba"
    if there:  # a volume
        folder.mkdir(parents=True)
    bring({"NUMBA_CACHE_DIR": str(folder)}, shipped=shipped)
    assert (folder / "umap" / "layout.nbi").read_text() == "compiled"


def test_what_numba_has_kept_since_stays(shipped: Path) -> None:
    folder = shipped.parent / "cache"
    (folder / "mine").mkdir(parents=True)
    bring({"NUMBA_CACHE_DIR": str(folder)}, shipped=shipped)
    assert [path.name for path in folder.iterdir()] == ["mine"]


def test_without_an_image_nothing_is_brought(shipped: Path) -> None:
    folder = shipped.parent / "cache"
    bring({}, shipped=shipped)
    bring({"NUMBA_CACHE_DIR": str(folder)}, shipped=shipped.parent / "nothing")
    assert not folder.exists()


def test_code_is_for_any_processor_unless_someone_wants_it_for_his(shipped: Path) -> None:
    environ: dict[str, str] = {}
    bring(environ, shipped=shipped)
    assert environ == {"NUMBA_CPU_NAME": "generic"}
    environ = {"NUMBA_CPU_NAME": "skylake"}
    bring(environ, shipped=shipped)
    assert environ == {"NUMBA_CPU_NAME": "skylake"}
