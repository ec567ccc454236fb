"""Images, several images, videos and text alone in one run, on processes that share the work."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.jobs.training.world import World, make_record, write_records

DEADLINE = 1200
"""Seconds; processes that wait for each other would do so for ever."""


def film(folder: Path, names: list[str]) -> dict[str, Any]:
    frames = [
        {"uri": name, "sha256": hashlib.sha256((folder / name).read_bytes()).hexdigest()}
        for name in names
    ]
    return {"kind": "video", "frames": frames}


def mixed_records(folder: Path, first: int, count: int) -> list[dict[str, Any]]:
    """One image, none, two images, a video, an image and a video, and so on."""
    records = [make_record(folder, first + index) for index in range(count)]
    images = [record["media"][0] for record in records]
    video = film(folder, [image["uri"] for image in images[:2]])
    for index, record in enumerate(records):
        record["schema"] = "mmrlhf.io/ranked-response/v2"
        kind = ("image", "text", "images", "film", "both", "text")[index % 6]
        other = images[(index + 1) % count]
        record["media"] = {
            "image": [images[index]],
            "text": [],
            "images": [images[index], other],
            "film": [video],
            "both": [images[index], video],
        }[kind]
        record["domain"] = "video" if kind in {"film", "both"} else "image"
        if kind == "text":
            record["domain"] = "text"
    return records


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = World.make(tmp_path_factory.mktemp("mixed"), queries=1, held_out=1)
    data = world.folder / "data"
    train = mixed_records(data, 0, 6)
    write_records(data / "train.jsonl", train)
    write_records(data / "heldout.jsonl", mixed_records(data, 100, 3))
    world.write_rewards(train)
    return world


def figures(world: World, name: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    folder = world.results(name)
    rows = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(row) for row in rows], json.loads((folder / "manifest.json").read_text())


def test_uneven_media_train_on_several_processes_as_on_one(mixed: World) -> None:
    found = []
    for name, processes, stage in (("alone", 1, 3), ("split", 2, 3), ("whole", 2, 2)):
        job = mixed.job(
            parallelism__zeroStage=stage,
            training__queriesPerStep=3,
            training__queriesPerMicroBatch=1,
            training__evaluateEverySteps=1,
        )
        job["metadata"]["name"] = name
        process = mixed.start(job, processes=processes)
        try:
            _, errors = process.communicate(timeout=DEADLINE)
        finally:
            process.kill()
        assert process.wait() == 0, errors[-3000:]
        found.append(figures(mixed, name))
    (alone, one), (split, two), (whole, three) = found
    for rows in (split, whole):
        for row, other in zip(alone, rows, strict=True):
            assert row.keys() == other.keys()
            for key in ("loss", "gradientNorm", "tokens", "pairs"):
                if key in row:
                    assert other[key] == pytest.approx(row[key], rel=1e-4)
    # Six queries of which two have no media, and three of which one has none; one has two kinds.
    assert one["visionFeatures"]["misses"] == 6
    # Both processes may be at the same medium at once.
    assert 6 <= two["visionFeatures"]["misses"] <= 12
    assert two["visionFeatures"]["hits"] > 0
    ends = {run["metrics"]["afterPreferenceAccuracy"] for run in (one, two, three)}
    assert len(ends) == 1
