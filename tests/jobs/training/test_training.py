"""Whole runs: one process, several processes, interruption and resumption."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText

from mmrlhf_jobs.reporting.trackers.tensorboard_file import EVENT_FILE
from tests.jobs.training.world import World
from tests.unit.reporting.event_file import read_scalars
from tests.unit.reporting.lineage_server import lineage_server
from tests.unit.reporting.official_events import read_event

Event = dict[str, Any]
WAITED = ("checkpointSeconds", "dataSeconds")
TIMED = {"seconds", "tokensPerSecond", "etaSeconds", "peakMemoryGiB", *WAITED}


def hardest(world: World) -> Any:
    rows = json.loads((world.results() / "manifest.json").read_text())["largestLosses"]
    return [{**row, "row": row["row"].rpartition(": ")[2]} for row in rows]


def weights(world: World) -> dict[str, torch.Tensor]:
    content: dict[str, torch.Tensor] = load_file(world.results() / "model" / "model.safetensors")
    return content


def series(world: World) -> list[dict[str, Any]]:
    lines = (world.results() / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    return [{key: value for key, value in row.items() if key not in TIMED} for row in rows]


def check_event_file(world: World) -> None:
    """TensorBoard's file has each row of the record once, and the final figures."""
    *events, last = read_scalars(world.results() / "tensorboard" / EVENT_FILE)
    rows = series(world)
    assert [step for step, _ in events] == [row["step"] for row in rows]
    for (_, found), row in zip(events, rows, strict=True):
        assert found.keys() == {*row, *TIMED} - {"step"}
        assert found["loss"] == pytest.approx(row["loss"])
    assert last[0] == rows[-1]["step"]
    assert "afterRewardMargin" in last[1]


def check_report(world: World) -> None:
    """The page has its curves, answers with their pictures, and the rows that are worth a look."""
    manifest = json.loads((world.results() / "manifest.json").read_text())
    page = (world.results() / "report.html").read_text()
    assert "reportFailed" not in manifest
    for heading in ("Loss", "Margin", "Beta of all pairs", "Peak memory of rank 0, GiB"):
        assert f"<figcaption>{heading}" in page
    for heading in ("Held-out data", "Answers before and after", "Rows of largest loss"):
        assert f"<h2>{heading}</h2>" in page
    assert len(re.findall(r"what is in picture 10\d\?", page)) == 2, "held-out queries are answered"
    assert page.count('<img src="data:image/jpeg;base64,') == 2
    hardest = manifest["largestLosses"]
    assert len(hardest) == 13, "each row of the last epoch once"
    assert {row["epoch"] for row in hardest} == {1}
    assert [row["loss"] for row in hardest] == sorted((r["loss"] for r in hardest), reverse=True)
    assert hardest[0]["row"].split(": ")[1] in page.replace("&#39;", "'")
    # By the side-car, every fifth query is scored against its ranks; each such pair is named.
    against = manifest["rewards"]["strongest"]
    assert len(against) == manifest["rewards"]["disagreements"]
    assert {(one["chosen"], one["rejected"], one["margin"]) for one in against} == {("a", "b", -1)}


@pytest.fixture(scope="module")
def finished(template: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """A run that nobody interrupted, told to a server of OpenLineage."""
    world = World.copy(template, tmp_path_factory.mktemp("finished") / "world")
    job = world.job(tracking__reportSamples=2, tracking__reportTokens=4)
    with lineage_server() as server:
        run = world.run(job, OPENLINEAGE_URL=server.url)
    assert run.code == 0, run.stderr
    check_told(world, server.events)
    return world


def check_told(world: World, events: list[dict[str, Any]]) -> None:
    """The catalogue has what the record has."""
    start, end = map(read_event, events)
    assert [start.eventType.value, end.eventType.value] == ["START", "COMPLETE"]
    manifest = json.loads((world.results() / "manifest.json").read_text())
    read = {one["uri"]: one["digest"] for one in manifest["lineage"]["inputs"]}
    assert {one.name: one.facets["version"].datasetVersion for one in start.inputs} == read
    made = {one.name: one for one in end.outputs}
    model = made[str(world.results() / "model")]
    marker = (world.results() / "model" / "COMMITTED").read_bytes()
    assert model.facets["version"].datasetVersion == hashlib.sha256(marker).hexdigest()


def test_a_run_leaves_a_loadable_model_metrics_and_manifest(finished: World) -> None:
    results = finished.results()
    model = AutoModelForImageTextToText.from_pretrained(results / "model")
    before = load_file(finished.folder / "model" / "model.safetensors")
    after = weights(finished)
    moved = {name for name in after if not torch.equal(after[name], before[name])}
    assert any("multi_modal_projector" in name for name in moved)
    assert any("language_model" in name for name in moved)
    assert not any("vision_tower" in name for name in moved)
    assert sum(p.numel() for p in model.parameters()) > 0

    rows = series(finished)
    assert [row["step"] for row in rows] == list(range(1, 9))
    # 13 queries in steps of 4: the last step of an epoch has one query.
    assert [row["epoch"] for row in rows] == [0] * 4 + [1] * 4
    assert rows[0]["margin"] == 0.0, "policy and reference are the same before the first step"
    assert rows[-1]["margin"] > 0.1

    manifest = json.loads((results / "manifest.json").read_text())
    assert manifest["attempts"][-1]["exit"] == "Succeeded"
    assert manifest["data"]["rows"] == 13
    read = {one["field"]: one for one in manifest["lineage"]["inputs"]}
    assert set(read) == {"model.uri", "data.train.uri", "data.evaluation.uri", "reward.scoresUri"}
    scores = Path(read["reward.scoresUri"]["uri"]).read_bytes()
    assert read["reward.scoresUri"]["digest"] == hashlib.sha256(scores).hexdigest()
    assert all(one["by"] == "content" and one["bytes"] for one in read.values())
    assert manifest["metrics"]["beforeRewardMargin"] == 0.0
    assert manifest["metrics"]["afterRewardMargin"] > 0.0
    assert manifest["rewards"]["disagreements"] == 3
    assert sum(manifest["rewards"]["betaHistogram"]["counts"]) == manifest["rewards"]["pairs"]
    proof = manifest["proof"]
    assert proof["sharedPrefix"]
    assert (proof["queries"], proof["responses"]) == (1, 3)
    assert 0 <= proof["shared"]["log_prob"] < proof["tolerance"]["log_prob"]
    assert 0 < proof["shared"]["gradient"] < proof["tolerance"]["gradient"]
    assert not list(results.glob("checkpoints/*")), "a finished run keeps no checkpoints"
    check_event_file(finished)
    check_report(finished)
    assert manifest["trackers"] == {"TensorBoard": {"taken": 9, "lost": 0, "unfinished": 0}}


def test_running_a_finished_job_again_changes_nothing(finished: World) -> None:
    manifest = (finished.results() / "manifest.json").read_bytes()
    run = finished.run(finished.job())
    assert run.code == 0, run.stderr
    assert [event["event"] for event in run.events] == ["notice", "done"]
    assert (finished.results() / "manifest.json").read_bytes() == manifest


@pytest.mark.parametrize(("processes", "stage"), [(2, 2), (3, 2), (2, 1), (2, 3)])
def test_several_processes_train_the_same_model(
    finished: World, world: World, processes: int, stage: int
) -> None:
    """DeepSpeed over gloo; the uneven last step leaves processes without a query."""
    run = world.run(world.job(parallelism__zeroStage=stage), processes=processes)
    assert run.code == 0, run.stderr
    for one, several in zip(series(finished), series(world), strict=True):
        assert several["loss"] == pytest.approx(one["loss"], rel=1e-5)
        assert several["gradientNorm"] == pytest.approx(one["gradientNorm"], rel=1e-4)
        for exact in ("step", "pairs", "tokens"):
            assert several[exact] == one[exact]
    expected, found = weights(finished), weights(world)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize(
    "change",
    [
        {"queriesPerMicroBatch": 3, "gradientCheckpointing": True},
        {"recompute": {"languageModelEvery": 2}},
    ],
)
def test_how_memory_is_saved_changes_nothing(
    finished: World, world: World, change: dict[str, Any]
) -> None:
    run = world.run(world.job(**{f"training__{key}": value for key, value in change.items()}))
    assert run.code == 0, run.stderr
    for one, other in zip(series(finished), series(world), strict=True):
        assert other["loss"] == pytest.approx(one["loss"], rel=1e-5)
    told = [event["message"] for event in run.events if event["event"] == "notice"]
    layers = 1 if "recompute" in change else 2
    assert any(f"of {layers} of 2 layers of the language model" in message for message in told)


def family(root: int) -> list[int]:
    """A process and all below it."""
    listing = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True
    ).stdout
    pairs = [line.split() for line in listing.splitlines()]
    found = [root]
    for pid in found:
        found += [int(child) for child, parent in pairs if int(parent) == pid]
    return found


def run_until(
    world: World,
    event: str,
    sign: signal.Signals,
    *,
    processes: int = 1,
    job: dict[str, Any] | None = None,
    to_all: bool = False,
) -> tuple[int, list[Event]]:
    """Start the job, send a signal once an event has come, and wait for the end.

    The job stays where the event is, however late the signal is. It goes to the process that was
    started, or to all that it started in turn as well. What is asked to end has a launcher, as in
    a pod.
    """
    launched = sign == signal.SIGTERM
    process = world.start(job or world.job(), processes=processes, launched=launched, until=event)
    try:
        world.wait_for(event, process)
        for pid in family(process.pid) if to_all else [process.pid]:
            os.kill(pid, sign)
        process.communicate(timeout=300)
        return process.wait(), world.events()
    finally:
        process.kill()
        process.wait()


def test_kill_at_any_moment_then_run_again_gives_the_same_bits(
    finished: World, world: World
) -> None:
    """SIGKILL while loading, in the reference pass, between checkpoints, and while publishing."""
    for event in (
        "phase=load",
        "phase=reference",
        "step=1",
        "step=3",
        "step=6",
        "phase=evaluate",
        "phase=publish",
    ):
        code, _ = run_until(world, event, signal.SIGKILL)
        assert code == -signal.SIGKILL
    run = world.run(world.job())
    assert run.code == 0, run.stderr
    started = next(event for event in run.steps)
    assert started["step"] == 7, "the last checkpoint before the kills is that of step 6"
    expected, found = weights(finished), weights(world)
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert series(world) == series(finished)
    attempts = json.loads((world.results() / "attempts.json").read_text())
    assert [attempt["exit"] for attempt in attempts] == ["Killed"] * 7 + ["Succeeded"]
    check_event_file(world)
    assert hardest(world) == hardest(finished), "those of before the last kill among them"


def test_terminate_saves_a_checkpoint_and_the_next_run_goes_on_from_it(
    finished: World, world: World
) -> None:
    code, events = run_until(world, "step=3", signal.SIGTERM)
    assert code == 143
    stopped = max(event["step"] for event in events if event["event"] == "step")
    (so_far,) = world.folder.glob("artifacts/*/*/*/tensorboard/*")
    assert [step for step, _ in read_scalars(so_far)] == list(range(1, stopped + 1))
    # What changes no result makes no other run.
    changed = {
        "resources__memory": "6Gi",
        "checkpoint__everySteps": 3,
        "tracking__tags": {"try": "2"},
    }
    run = world.run(world.job(**changed))
    assert run.code == 0, run.stderr
    assert run.steps[0]["step"] == stopped + 1
    expected, found = weights(finished), weights(world)
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert series(world) == series(finished)


def test_terminate_for_all_processes_at_once_saves_a_checkpoint_as_well(
    finished: World, world: World
) -> None:
    """As a machine that shuts down does it, where torchrun's agent alone hears it from a pod."""
    code, events = run_until(world, "step=3", signal.SIGTERM, processes=2, to_all=True)
    assert code == 143
    assert world.termination() == {"exitCode": 143, "reason": "Interrupted", "message": ANY}
    stopped = max(event["step"] for event in events if event["event"] == "step")
    assert list(world.results().glob(f"checkpoints/step-{stopped:08d}-*/complete"))
    run = world.run(world.job(), processes=2)
    assert run.code == 0, run.stderr
    assert run.steps[0]["step"] == stopped + 1


@pytest.mark.parametrize(("stage", "processes", "then"), [(1, 1, 1), (3, 2, 3), (3, 3, 2)])
def test_other_processes_and_stages_go_on_from_a_checkpoint(
    finished: World, world: World, stage: int, processes: int, then: int
) -> None:
    """Two processes of a stage are stopped; `processes` of the stage `then` do the rest."""
    job = world.job(parallelism__zeroStage=stage)
    job["metadata"]["uid"] = "as-in-a-cluster"  # on a laptop another stage is another run
    code, events = run_until(world, "step=3", signal.SIGTERM, processes=2, job=job)
    assert code == 143
    assert world.termination() == {
        "exitCode": 143,
        "reason": "Interrupted",
        "message": ANY,
    }
    stopped = max(event["step"] for event in events if event["event"] == "step")
    job["spec"]["parallelism"]["zeroStage"] = then
    run = world.run(job, processes=processes)
    assert run.code == 0, run.stderr
    assert run.steps[0]["step"] == stopped + 1
    told = [event["message"] for event in run.events if event["event"] == "notice"]
    moved = f"made by 2 process(es) with engine deepspeed-{stage}; this run goes on with"
    same = (processes, then) == (2, stage)
    assert any(moved in message for message in told) != same
    expected, found = weights(finished), weights(world)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=2e-4, atol=2e-5)


def test_a_checkpoint_of_other_inputs_is_refused(world: World) -> None:
    run_until(world, "step=3", signal.SIGTERM)
    data = world.folder / "data" / "train.jsonl"
    data.write_text("".join(data.read_text().splitlines(keepends=True)[1:]))
    run = world.run(world.job())
    assert run.code == 2
    assert "was made from another train data" in run.stderr
    # What changes the result makes another run, and the log says what becomes of the first one.
    run = world.run(world.job(training__maxSteps=1, optimizer__learningRate=0.002))
    assert run.code == 0, run.stderr
    (told,) = [one["message"] for one in run.events if "earlier run" in one.get("message", "")]
    assert "is not used: it was made from another train data and spec" in told


@pytest.mark.parametrize("strategy", ["fixed", "implicit"])
def test_other_beta_strategies_need_no_reward(world: World, strategy: str) -> None:
    job = world.job(objective__beta__strategy=strategy, training__epochs=1)
    del job["spec"]["reward"]
    run = world.run(job)
    assert run.code == 0, run.stderr
    rows = series(world)
    if strategy == "fixed":
        assert [row["beta"] for row in rows] == pytest.approx([0.1] * len(rows))
    else:
        assert len({row["beta"] for row in rows}) > 1
