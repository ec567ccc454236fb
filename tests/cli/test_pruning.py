"""What of a store goes, from the command line; what a cluster needs besides."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmrlhf.client.connection import Connection
from mmrlhf.client.views import JobView
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from mmrlhfctl.errors import CliError
from mmrlhfctl.verbs.prune import needs_of_job, needs_of_run, read_store
from tests.unit.retention.world import World

Command = Callable[..., subprocess.CompletedProcess[str]]


def test_what_may_go_is_shown_and_goes_when_that_is_said(command: Command, tmp_path: Path) -> None:
    world = World(ArtifactStore(str(tmp_path / "store")), tmp_path)
    for uid, days in (("old", 4000), ("new", 3000)):
        world.run(f"vision/align/{uid}", days=days)
    shown = command("prune", world.uri, "--last", "1", "-o", "json")
    assert shown.returncode == 0, shown.stderr
    fates = {one["key"]: one["fate"] for one in json.loads(shown.stdout)["items"]}
    assert fates == {"vision/align/old": "to be marked", "vision/align/new": "stays"}
    both = command("prune", world.uri, "--yes", "--dry-run")
    assert (both.returncode, "give one of --yes and --dry-run" in both.stderr) == (2, True)
    done = command("prune", world.uri, "--last", "1", "--yes", "--wait-days", "0")
    assert (done.returncode, "1 are gone" in done.stderr) == (0, True)
    assert world.whole() == {"vision/align/new"}


def _job(phase: str | None, **spec: Any) -> JobView:
    body = {
        "kind": "StepJob",
        "metadata": {"name": "score", "namespace": "vision", "uid": "u1"},
        "spec": {"artifacts": {"uri": "s3://runs/"}, **spec},
        "status": {"phase": phase},
    }
    return JobView.read(body)


def test_a_job_that_has_not_ended_needs_its_run_and_all_that_it_reads() -> None:
    told = {"step": "score", "score": {"model": "s3://runs/m", "data": "s3://d/x.jsonl"}}
    own = "s3://runs/vision/score/u1"
    assert set(needs_of_job(_job("Running", **told))) == {own, "s3://runs/m", "s3://d/x.jsonl"}
    assert set(needs_of_job(_job(None, step="score"))) == {own}, "it is not valid"
    assert list(needs_of_job(_job("Succeeded", **told))) == []


def test_a_run_that_has_not_ended_needs_all_that_its_steps_have_left() -> None:
    steps = [
        {"name": "judge", "manifest": "s3://runs/v/j/u/manifest.json"},
        {"name": "score", "outputs": [{"name": "scores", "uri": "s3://runs/v/s/u/scores.parquet"}]},
        {"name": "align"},
    ]
    found = list(needs_of_run({"status": {"phase": "Running", "steps": steps}}))
    assert found == ["s3://runs/v/j/u/manifest.json", "s3://runs/v/s/u/scores.parquet"]
    assert list(needs_of_run({"status": {"phase": "Failed", "steps": steps}})) == []
    assert list(needs_of_run({})) == []


def test_only_stores_and_pipelines_can_be_pruned() -> None:
    assert read_store(Connection(), "s3://runs/ap/weekly") == ("s3://runs/ap/weekly", [])
    with pytest.raises(CliError, match="ar/weekly: name a folder of artifacts or a pipeline"):
        read_store(Connection(), "ar/weekly")
