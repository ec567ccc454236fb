"""Several processes that work on one folder of artifacts at the same time."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from tests.jobs.training.world import World
from tests.jobs.warm import Program
from tests.patience import PATIENCE


def start(world: World, job: dict[str, Any], place: str, name: str) -> Program:
    path = world.write_job(job, f"{name}.yaml")
    env = {
        **os.environ,
        "MMRLHF_PROGRESS_FILE": str(world.folder / f"{name}-progress.jsonl"),
        "MMRLHF_TERMINATION_FILE": str(world.folder / f"{name}-termination.json"),
    }
    return Program("tests.jobs.training.held", [place, "mmdpo", "--job", str(path)], env)


def has_stopped(program: Program) -> bool:
    """Whether a signal stopped it; proc(5) has the state after the name in brackets."""
    state = Path(f"/proc/{program.pid}/stat").read_text().rpartition(")")[2].split()[0]
    return state == "T"


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_an_attempt_that_was_cut_off_changes_nothing_when_it_comes_back(world: World) -> None:
    first = start(world, world.job(), "publish", "first")
    try:
        while not has_stopped(first):
            assert first.poll() is None, first.communicate()
            time.sleep(0.01)
        second = world.run(world.job())
        assert second.code == 0, second.stderr
        left = content(world.results())
        assert {"manifest.json", "metrics.jsonl", "model/COMMITTED"} <= left.keys()
        first.send_signal(signal.SIGCONT)
        _, stderr = first.communicate(timeout=600 * PATIENCE)
    finally:
        first.kill()
    assert first.returncode == 129, stderr
    assert "claim.json: another attempt has taken this run over" in stderr
    assert '"Superseded"' in (world.folder / "first-termination.json").read_text()
    assert content(world.results()) == left
    third = world.run(world.job())
    assert third.code == 0, third.stderr
    assert [event["event"] for event in third.events] == ["notice", "done"]


def test_a_run_without_its_model_is_not_complete(world: World) -> None:
    assert world.run(world.job()).code == 0
    weights = world.results() / "model" / "model.safetensors"
    before = weights.read_bytes()
    weights.unlink()
    again = world.run(world.job())
    assert again.code == 0, again.stderr
    told = [event["message"] for event in again.events if event["event"] == "notice"]
    assert told[0].startswith("this run was complete, but its model/model.safetensors is missing")
    assert weights.read_bytes() == before


def test_jobs_of_a_sweep_make_a_side_car_at_the_same_time(world: World, tmp_path: Path) -> None:
    meeting = tmp_path / "meeting"
    meeting.mkdir()
    jobs = [
        world.job(objective__beta={"strategy": "dynamic", "initial": beta})
        for beta in (0.1, 0.2, 0.3)
    ]
    processes = [
        start(world, job, f"sidecar:{meeting}:{len(jobs)}", f"job-{number}")
        for number, job in enumerate(jobs)
    ]
    try:
        ends = [process.communicate(timeout=600 * PATIENCE)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, stderr in zip(processes, ends, strict=True):
        assert process.returncode == 0, stderr
    runs = list((world.folder / "artifacts/default/tiny").iterdir())
    assert len(runs) == len(jobs)
    assert all((run / "manifest.json").is_file() for run in runs)
    cache = world.folder / "artifacts/cache/reference"
    assert list(cache.rglob("reference.parquet")), "they made none"
    assert not list(cache.rglob("*.parts")), "parts are left"
