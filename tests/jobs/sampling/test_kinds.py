"""Safety corpora and videos through the whole job, computed and kept in half precision."""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mmrlhf_jobs.data.queries import QueryRecord, stream_queries
from mmrlhf_jobs.data.sources import Source
from tests.jobs.sampling.encoders import save_clip
from tests.jobs.sampling.here import sample_here
from tests.jobs.sampling.world import SamplingWorld, picture
from tests.unit.sampling.corpora import llava, write_lines, write_tar
from tests.unit.sampling.pictures import video

COLOURS = [(200, 30, 30), (30, 200, 30), (30, 30, 200), (200, 200, 30), (30, 200, 200)]
FILMS = 10


def film(number: int) -> bytes:
    """A video whose first frame tells its number; the others are those of all films."""
    return video([COLOURS[number % 5], (10 + number, 128, 128), (250, 250, 250)])


def asked(name: str, kind: str, path: str, number: int) -> dict[str, Any]:
    answer = f"Thing {number}." if number % 2 else f"A scene with many things, {number}. " * 5
    place = {"image": None, kind: path}
    return llava(name, f"<{kind}>\nWhat happens in {name}?", answer, **place)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> SamplingWorld:
    folder = tmp_path_factory.mktemp("kinds")
    save_clip(folder / "clip")
    for name in ("images", "unsafe", "films"):
        (folder / "data" / name).mkdir(parents=True)
    choice = "Which is it?\nA. red\nB. blue"
    for number in range(16):
        (folder / f"data/images/{number}.png").write_bytes(picture(number))
        (folder / f"data/unsafe/{number}.png").write_bytes(picture(100 + number))
    write_lines(
        folder / "data/images/a.jsonl",
        [
            *(asked(f"i{n}", "image", f"{n}.png", n) for n in range(16)),
            *(llava(f"c{n}", f"{n}: {choice}", "A", image=f"{n}.png") for n in range(8)),
        ],
    )
    # A safety corpus has images and videos; both are of the domain safety.
    write_lines(
        folder / "data/unsafe/a.jsonl",
        [
            *(asked(f"u{n}", "image", f"{n}.png", n) for n in range(16)),
            asked("u16", "video", "16.mp4", 16),
        ],
    )
    (folder / "data/unsafe/16.mp4").write_bytes(film(16))
    for number in range(FILMS // 2):
        (folder / f"data/films/{number}.mp4").write_bytes(film(number))
    (folder / "data/films/cut.mp4").write_bytes(film(3)[:900])
    (folder / "data/films/words.mp4").write_bytes(b"no video at all" * 40)
    names = [*map(str, range(FILMS // 2)), "cut", "words", "nowhere"]
    write_lines(
        folder / "data/films/a.jsonl",
        [asked(f"f{name}", "video", f"{name}.mp4", n) for n, name in enumerate(names)],
    )
    write_tar(
        folder / "data/films/b.tar",
        [
            member
            for n in range(FILMS // 2, FILMS)
            for member in (
                (f"{n}.json", json.dumps(asked(f"t{n}", "video", "", n)).encode()),
                (f"{n}.mp4", film(n)),
            )
        ],
    )
    return SamplingWorld(folder, str(folder / "artifacts"))


def job(world: SamplingWorld) -> dict[str, Any]:
    uris = {name: str(world.folder / "data" / name) for name in ("images", "unsafe", "films")}
    return world.job(
        sources=[
            {"name": name, "uri": uri} | ({"type": "safety"} if name == "unsafe" else {})
            for name, uri in uris.items()
        ],
        target=20,
        ratio={"long": 1, "short": 2, "mcq": 1, "safety": 3, "video": 3},
        clustering={"centres": 3},
        embedding={
            "model": {"uri": str(world.folder / "clip")},
            "dtype": "float16",
            "vectors": "float16",
        },
        failures={"maxFraction": 0.1},
    )


@pytest.fixture(scope="module")
def queries(world: SamplingWorld, tmp_path_factory: pytest.TempPathFactory) -> list[QueryRecord]:
    sample_here(job(world), tmp_path_factory.mktemp("scratch"))
    return list(stream_queries(Source(str(world.results() / "queries.jsonl"))))


def test_quotas_of_safety_and_video_are_met_exactly(
    world: SamplingWorld, queries: list[QueryRecord]
) -> None:
    of_images = [query.type for query in queries if query.domain == "image"]
    assert Counter(of_images) == {"long": 2, "short": 4, "mcq": 2}
    assert Counter(query.domain for query in queries) == {"image": 8, "safety": 6, "video": 6}
    for query in queries:
        dataset = {"image": "images", "safety": "unsafe", "video": "films"}[query.domain]
        assert query.source is not None
        assert query.source.dataset == dataset
        assert query.selection is not None
        assert query.selection.quota is not None
        assert query.selection.quota >= 1
    statistics = json.loads((world.results() / "statistics.json").read_text())
    types = statistics["types"]
    assert {name: (one["selected"], one["deviation"]) for name, one in types.items()} == {
        "long": (2, 0),
        "short": (4, 0),
        "mcq": (2, 0),
        "safety": (6, 0),
        "video": (6, 0),
    }
    shown = Counter(
        cluster
        for cluster, _ in {
            (query.selection.cluster, query.media[0].sha256) for query in queries if query.selection
        }
    )
    page = (world.results() / "report.html").read_text()
    assert page.count("<img ") == sum(min(4, number) for number in shown.values())
    assert types["video"]["available"] == FILMS
    assert types["safety"]["available"] == 17


def test_first_frames_and_videos_of_shards_are_kept_beside_the_queries(
    world: SamplingWorld, queries: list[QueryRecord]
) -> None:
    kept, inside = set(), 0
    for query in queries:
        (medium,) = query.media
        assert medium.uri is not None
        assert query.source is not None
        name = query.source.row_id or ""
        if query.domain != "video" and name != "u16":
            assert (medium.kind, medium.frames) == ("image", ())
            continue
        assert medium.kind == "video"
        number = int(name[1:])
        content = film(number)
        assert medium.sha256 == hashlib.sha256(content).hexdigest()
        assert (world.results() / medium.uri).read_bytes() == content
        if name.startswith("t"):
            inside += 1
            assert medium.uri == f"media/{medium.sha256}.mp4"
            kept.add(medium.uri)
        (frame,) = medium.frames
        assert frame.uri is not None
        assert frame.pts_ms == 0
        kept.add(frame.uri)
        png = (world.results() / frame.uri).read_bytes()
        assert frame.sha256 == hashlib.sha256(png).hexdigest()
        with Image.open(io.BytesIO(png)) as image:
            assert image.size == (medium.width, medium.height) == (64, 48)
            mean = np.asarray(image).reshape(-1, 3).mean(axis=0)
        assert np.abs(mean - COLOURS[number % 5]).max() < 12
    assert inside >= 1
    found = {f"media/{path.name}" for path in (world.results() / "media").iterdir()}
    assert found == kept


def test_bad_and_missing_videos_are_counted_by_reason(
    world: SamplingWorld, queries: list[QueryRecord]
) -> None:
    statistics = json.loads((world.results() / "statistics.json").read_text())
    counts = statistics["counts"]
    assert counts["embed"]["failed:not-a-video"] == 2
    assert counts["embed"]["failed:missing-file"] == 1
    assert counts["join"]["drop:not-a-video"] == 2
    assert counts["join"]["drop:missing-file"] == 1
    assert counts["join"]["candidates"] == 24 + 17 + FILMS
    assert {f"f{name}" for name in ("cut", "words", "nowhere")}.isdisjoint(
        query.source.row_id for query in queries if query.source
    )


def test_two_processes_choose_the_same(
    world: SamplingWorld, queries: list[QueryRecord], tmp_path: Path
) -> None:
    assert queries
    other = SamplingWorld(world.folder, str(tmp_path / "artifacts"))
    code, stderr = other.run(job(other), processes=2)
    assert code == 0, stderr
    assert other.digest() == world.digest()
    for name in ("selection.parquet", "statistics.json"):
        assert (other.results() / name).read_bytes() == (world.results() / name).read_bytes()
