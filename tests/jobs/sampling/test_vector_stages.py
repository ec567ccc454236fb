"""Embedding, shuffling and clustering: the same bytes for any processes, order, batch and kills."""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from mmrlhf_jobs.sampling.images.pictures import open_picture
from tests.jobs.sampling import vector_stages
from tests.jobs.sampling.encoders import save_clip
from tests.jobs.sampling.processes import run_module
from tests.unit.sampling.pictures import encoded, noise, photographs, video


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, photographs, noise, a video, a picture that is there twice, and two bad files."""
    folder = tmp_path_factory.mktemp("media")
    save_clip(folder / "clip")
    (folder / "media").mkdir()
    files = photographs() | {f"noise{n}.png": encoded(noise(40 + n, 50, n)) for n in range(9)}
    files["twice.png"] = files["noise3.png"]
    files["clip.mp4"] = video([(200, 0, 0), (0, 200, 0)])
    files["cut.png"] = files["noise4.png"][:4_000]
    files["text.jpg"] = b"no picture"
    for name, content in files.items():
        (folder / "media" / name).write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def alone(media: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return start(media, tmp_path_factory.mktemp("alone") / "x", batch_size=256, order=0)


def start(media: Path, folder: Path, *, batch_size: int, order: int) -> Path:
    """Run all stages in a copy of the world, or in one that is there already."""
    if not folder.exists():
        shutil.copytree(media, folder)
    threads = torch.get_num_threads()
    try:
        vector_stages.run(folder, batch_size=batch_size, order=order)
    finally:
        torch.set_num_threads(threads)
    return folder


def results(folder: Path) -> Mapping[str, str]:
    """Digests of buckets, centres and clusters."""
    work = folder / "artifacts/run/work"
    paths = [
        path for stage in ("buckets", "centres", "clusters") for path in (work / stage).rglob("*")
    ]
    return {
        str(path.relative_to(work)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in paths
        if path.suffix in (".npy", ".parquet")
    }


def counts(folder: Path) -> Counter[str]:
    """What became of media, over all parts of the embed stage."""
    found: Counter[str] = Counter()
    for path in (folder / "artifacts/run/work/media").glob("*/*/media.parquet"):
        for row in pq.read_table(path).to_pylist():
            found[row["reason"] or row["status"]] += 1
    return found


def test_every_medium_has_a_vector_or_a_reason(media: Path, alone: Path) -> None:
    assert counts(alone) == {
        # One file is named by two rows; it counts once where both are in one block.
        "ok": counts(alone)["ok"],
        "truncated-image": 1,
        "not-an-image": 1,
        "missing-file": 1,
    }
    work = alone / "artifacts/run/work"
    rows = [
        row
        for path in (work / "media").glob("*/*/media.parquet")
        for row in pq.read_table(path).to_pylist()
    ]
    by_name = {Path(row["uri"]).name: row for row in rows}
    assert by_name["clip.mp4"]["frame_pts_ms"] == 0
    assert by_name["twice.png"]["sha256"] == by_name["noise3.png"]["sha256"]
    for name, row in by_name.items():
        content = (media / "media" / name).read_bytes() if name != "nowhere.png" else b""
        if row["status"] == "ok":
            picture = open_picture(content, row["kind"])
            assert (row["width"], row["height"]) == (picture.width, picture.height)
        if content:
            assert row["sha256"] == hashlib.sha256(content).digest()
    (bucket,) = (work / "buckets/bucket-00000").glob("*/keys.npy")
    keys = np.load(bucket)
    good = {row["sha256"] for row in rows if row["status"] == "ok"}
    assert [key.tobytes() for key in keys] == sorted(good)
    (labels,) = (work / "clusters/bucket-00000").glob("*/clusters.parquet")
    clusters = pq.read_table(labels)
    assert clusters["sha256"].to_pylist() == sorted(good)
    assert len(set(clusters["cluster"].to_pylist())) == 5
    assert not list((alone / "scratch-0").rglob("*.npy"))


def test_the_same_bytes_for_any_batch_and_order(media: Path, alone: Path, tmp_path: Path) -> None:
    """And for any number of processes: see test_job.py, whose run id depends on the centres."""
    folder = start(media, tmp_path / "x", batch_size=1, order=2)
    assert results(folder) == results(alone)


def test_the_same_bytes_after_kills_in_every_stage(
    media: Path, alone: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "x"
    shutil.copytree(media, folder)
    run_module("tests.jobs.sampling.vector_stages", str(folder), "256", "0")
    assert int((folder / "attempts").read_text()) > 8
    assert results(folder) == results(alone)


def test_a_second_run_embeds_only_what_is_new(media: Path, alone: Path, tmp_path: Path) -> None:
    folder = tmp_path / "x"
    shutil.copytree(alone, folder)
    (folder / "media/new.png").write_bytes(encoded(noise(70, 70, 70)))
    shutil.rmtree(folder / "artifacts/run")
    vectors = set((folder / "artifacts/embeddings").glob("*/*/*"))
    start(media, folder, batch_size=256, order=5)
    (added,) = set((folder / "artifacts/embeddings").glob("*/*/*")) - vectors
    assert len(np.load(added / "vectors.npy")) == 1
    assert counts(folder)["ok"] == counts(alone)["ok"] + 1
    assert counts(folder)["missing-file"] == 1
    # Another encoder has a folder of its own, and nothing of the first.
    save_clip(folder / "clip", seed=9)
    start(media, folder, batch_size=256, order=6)
    first, second = (folder / "artifacts/embeddings").iterdir()
    assert {path.name for path in first.iterdir()} | {path.name for path in second.iterdir()}
    names = [
        sorted(np.concatenate([np.load(p)["sha256"] for p in one.glob("*/*/media.npy")]).tolist())
        for one in (first, second)
    ]
    assert sorted(set(names[0])) == sorted(set(names[1]))
