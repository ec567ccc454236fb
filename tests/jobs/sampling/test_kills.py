"""kill -9 at the begin and in the middle of every stage: the next attempt goes on from there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from tests.jobs.sampling.here import sample_here
from tests.jobs.sampling.kills import PLACES
from tests.jobs.sampling.processes import run_module
from tests.jobs.sampling.world import SamplingWorld


def statistics(world: SamplingWorld) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((world.results() / "statistics.json").read_text())
    embed = found["counts"]["embed"]
    # What an attempt has embedded the next one knows.
    embed["either"] = embed.pop("embedded") + embed.pop("known", 0)
    return found


def test_the_choice_is_the_same_after_kills_in_every_stage(tmp_path: Path) -> None:
    whole = SamplingWorld.make(tmp_path / "world", images=24)
    wanted = {"target": 8, "clustering": {"centres": 3}}
    sample_here(whole.job(**wanted), tmp_path / "scratch")
    killed = SamplingWorld(whole.folder, str(tmp_path / "killed"))
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(killed.job(**wanted)))
    output = run_module(
        "tests.jobs.sampling.kills", str(tmp_path / "job.yaml"), str(tmp_path / "scratch")
    )
    assert output.split("\n")[: len(PLACES)] == list(PLACES)
    assert killed.digest() == whole.digest()
    assert statistics(killed) == statistics(whole)
    media = [sorted(p.name for p in (w.results() / "media").iterdir()) for w in (killed, whole)]
    assert media[0] == media[1] != []
    attempts = json.loads((killed.results() / "attempts.json").read_text())
    # The one that was killed before the manifest, which is last, had not succeeded.
    assert [one["exit"] for one in attempts] == ["Killed"] * len(PLACES) + ["Succeeded"]
