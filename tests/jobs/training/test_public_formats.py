"""Records of every public format are trained on: one step, of both kinds of job."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mmrlhf_jobs.__main__ import main
from mmrlhf_jobs.data.exporters.registry import WRITERS
from mmrlhf_jobs.data.importers.importing import ImportOptions, import_rows
from mmrlhf_jobs.data.importers.registry import READERS
from tests.jobs.training.world import World
from tests.unit.data.builders import write_rows
from tests.unit.data.public_files import RANKS, write_media, write_public_file
from tests.unit.sampling.pictures import video

# With the one that shows a video.
RECORDS = sum(len(ranks) for ranks in RANKS.values()) + 1
PAIRS = sum(len(ranks) * (len(ranks) - 1) // 2 for each in RANKS.values() for ranks in each) + 1


CLIP = {
    "messages": [{"role": "user", "content": "<video>What happens?"}],
    "chosen": {"role": "assistant", "content": "It brightens."},
    "rejected": {"role": "assistant", "content": "Nothing."},
    "videos": ["clip.mp4"],
}
"""A row of LLaMA-Factory whose video is a file, which becomes frames."""


@pytest.fixture(scope="module")
def imported(template: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """A world whose data are the records of a file of each format."""
    world = World.copy(template, tmp_path_factory.mktemp("public") / "world")
    folder = world.folder / "public"
    folder.mkdir()
    picture = next((world.folder / "data" / "images").glob("*.png")).read_bytes()
    write_media(folder, picture)
    for name in WRITERS:
        source, out = write_public_file(folder, name), folder / "records" / f"{name}.jsonl"
        out.parent.mkdir(exist_ok=True)
        import_rows(READERS[name], str(source), str(out), ImportOptions(media_root=str(folder)))
    write_rows(folder / "clips.jsonl", [CLIP])
    (folder / "clip.mp4").write_bytes(video([(level,) * 3 for level in range(0, 200, 20)]))
    files = [str(folder / "clips.jsonl"), str(folder / "records" / "clips.jsonl")]
    more = ["--media-root", str(folder), "--frames", "3"]
    assert main(["import", "llama-factory", *files, *more]) == 0
    assert len(list((folder / "embedded").rglob("*.jpg"))) == 3
    return world


@pytest.mark.parametrize("kind", ["mmdpo", "reward"])
def test_records_of_every_public_format_are_trained_on(imported: World, kind: str) -> None:
    train = {
        "uri": str(imported.folder / "public/records"),
        "mediaRoot": str(imported.folder / "public"),
    }
    changes: dict[str, Any] = {
        "data": {"train": train},
        "training": {"epochs": 1, "queriesPerStep": RECORDS, "queriesPerMicroBatch": 4},
    }
    if kind == "mmdpo":
        job = imported.job(**changes, objective={"beta": {"strategy": "fixed"}})
        del job["spec"]["reward"]
    else:
        none = {"critique": "none"}
        job = imported.reward_job(**changes, objective=none, inference=none)
        del job["spec"]["benchmark"]
    run = imported.run(job)
    assert run.code == 0, run.stderr
    assert len(run.steps) == 1
    name = job["metadata"]["name"]
    manifest = json.loads((imported.results(name) / "manifest.json").read_text())
    assert (manifest["data"]["rows"], manifest["data"]["invalid"]) == (RECORDS, {})
    assert manifest["data"]["pairs"] == PAIRS
