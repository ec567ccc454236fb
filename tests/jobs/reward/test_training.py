"""RewardTrainJobs from the job file to the artifact: whole, in several processes, and killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText

from mmrlhf_jobs.__main__ import main
from mmrlhf_jobs.reward_model.judge import CritiqueRewardModel
from tests.jobs.models.tiny import picture
from tests.jobs.training.world import World, write_records

Event = dict[str, Any]
WAITED = ("checkpointSeconds", "dataSeconds")
TIMED = {"seconds", "tokensPerSecond", "etaSeconds", "peakMemoryGiB", *WAITED}


def weights(world: World) -> dict[str, torch.Tensor]:
    folder = world.results("judge") / "model"
    return {
        **load_file(folder / "model.safetensors"),
        **load_file(folder / "reward_head.safetensors"),
    }


def series(world: World) -> list[dict[str, Any]]:
    lines = (world.results("judge") / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    return [{key: value for key, value in row.items() if key not in TIMED} for row in rows]


def manifest(world: World, name: str = "judge") -> dict[str, Any]:
    content: dict[str, Any] = json.loads((world.results(name) / "manifest.json").read_text())
    return content


@pytest.fixture(scope="module")
def finished(template: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """A run by the command line that nobody interrupted."""
    world = World.copy(template, tmp_path_factory.mktemp("finished") / "world")
    run_command(world, world.reward_job())
    return world


def run_command(world: World, job: dict[str, Any]) -> dict[str, Any]:
    """`mmrlhfctl run --local`; returns what it prints."""
    path = world.write_job(job, "rewardtrainjob.yaml")
    command = [sys.executable, "-m", "mmrlhfctl", "run", "-f", str(path), "--local", "-o", "json"]
    done = subprocess.run(
        [*command, "--state-dir", str(world.folder / "state")],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_a_run_leaves_a_reward_model_with_figures(finished: World) -> None:
    rows = series(finished)
    assert [row["step"] for row in rows] == list(range(1, 9))
    for name in ("loss", "critiqueLoss", "scoreLoss"):
        assert rows[-1][name] < rows[0][name]
    assert rows[0]["loss"] == pytest.approx(rows[0]["critiqueLoss"] + rows[0]["scoreLoss"])

    before = load_file(finished.folder / "model" / "model.safetensors")
    after = weights(finished)
    moved = {name for name in before if not torch.equal(after[name], before[name])}
    assert any("language_model" in name for name in moved)
    assert any("multi_modal_projector" in name for name in moved)
    assert not any("vision_tower" in name for name in moved)

    record = manifest(finished)
    assert record["critiques"] == {"responses": 52, "missing": 0}
    assert record["proof"]["sharedPrefix"]
    assert record["proof"]["queries"] == 1
    assert record["metrics"]["benchmarkQueries"] == 5
    assert set(record["evaluation"]) == {"after", "benchmark"}
    assert 0 <= record["metrics"]["benchmarkAccPlus"] <= record["metrics"]["benchmarkAcc"] <= 1
    assert record["metrics"]["afterCritiqueLoss"] < rows[0]["critiqueLoss"]
    assert not list(finished.results("judge").glob("checkpoints/*"))

    folder = finished.results("judge") / "model"
    AutoModelForImageTextToText.from_pretrained(folder)
    judge = CritiqueRewardModel.from_pretrained(folder)
    assert judge.inference.max_new_tokens == 4
    verdicts = judge.score("what is it?", [picture(28, 28, 1)], ["a dog", "no"])
    assert verdicts[0].score != verdicts[1].score


def test_several_processes_train_the_same_model(finished: World, world: World) -> None:
    """DeepSpeed over gloo, with weights divided; those too of the model that is measured then."""
    run = world.run(world.reward_job(parallelism__zeroStage=3), processes=2)
    assert run.code == 0, run.stderr
    for one, several in zip(series(finished), series(world), strict=True):
        for name in ("loss", "critiqueLoss", "scoreLoss", "meanScore"):
            assert several[name] == pytest.approx(one[name], rel=1e-4, abs=1e-6)
        for exact in ("step", "pairs", "tokens", "critiqueTokens"):
            assert several[exact] == one[exact]
    for name, value in weights(finished).items():
        torch.testing.assert_close(weights(world)[name], value, rtol=2e-4, atol=2e-5)
    assert manifest(world)["metrics"] == pytest.approx(manifest(finished)["metrics"], abs=1e-3)


def run_until(world: World, event: str) -> None:
    """Start the job and kill it where it stays once an event has come."""
    process = world.start(world.reward_job(), until=event)
    try:
        world.wait_for(event, process)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert process.returncode == -signal.SIGKILL


def test_kill_then_run_again_gives_the_same_bits(
    finished: World, world: World, one_thread: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL between checkpoints and while the benchmark is scored."""
    run_until(world, "step=3")
    run_until(world, "phase=benchmark")
    monkeypatch.setenv("MMRLHF_PROGRESS_FILE", str(world.folder / "last.jsonl"))
    assert main(["reward", "--job", str(world.write_job(world.reward_job()))]) == 0
    events = map(json.loads, (world.folder / "last.jsonl").read_text().splitlines())
    assert next(event for event in events if event["event"] == "step")["step"] == 7
    expected, found = weights(finished), weights(world)
    assert expected.keys() == found.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert series(world) == series(finished)
    assert manifest(world)["evaluation"] == manifest(finished)["evaluation"]


def change_records(world: World, change: Callable[[list[dict[str, Any]]], None]) -> None:
    path = world.folder / "data" / "train.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    change(records)
    write_records(path, records)


def drop_critiques(records: list[dict[str, Any]]) -> None:
    del records[1]["responses"][2]["critique"]["augmented"]
    del records[4]["responses"][0]["critique"]


def run_here(world: World, job: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> str:
    code = main(["reward", "--job", str(world.write_job(job))])
    message = capsys.readouterr().err
    assert (code == 0) == ("error: " not in message), message
    return message


def test_missing_critiques_fail_before_the_first_step(
    world: World, own_signals: None, capsys: pytest.CaptureFixture[str]
) -> None:
    change_records(world, drop_critiques)
    message = run_here(world, world.reward_job(), capsys)
    assert "2 responses have no enhanced critique" in message
    assert "train.jsonl, row 2: record 'r1', response 'c'" in message
    assert "train.jsonl, row 5: record 'r4', response 'a'" in message
    assert "objective.missingCritique: skip" in message


def test_missing_critiques_may_be_skipped_and_are_counted(
    world: World, own_signals: None, capsys: pytest.CaptureFixture[str]
) -> None:
    change_records(world, drop_critiques)
    job = world.reward_job(
        objective__missingCritique="skip", training__maxSteps=4, inference__critique="none"
    )
    assert run_here(world, job, capsys) == ""
    assert manifest(world)["critiques"] == {"responses": 52, "missing": 2}
    assert sum(row["pairs"] for row in series(world)) == 75, "their scores are learnt all the same"
