"""Records of every public format are trained on: one step, of both kinds of job."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mmrlhf_jobs.data.exporters.registry import WRITERS
from mmrlhf_jobs.data.importers.importing import ImportOptions, import_rows
from mmrlhf_jobs.data.importers.registry import READERS
from tests.jobs.training.world import World
from tests.unit.data.public_files import RANKS, write_media, write_public_file

RECORDS = sum(len(ranks) for ranks in RANKS.values())
PAIRS = sum(len(ranks) * (len(ranks) - 1) // 2 for each in RANKS.values() for ranks in each)


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
