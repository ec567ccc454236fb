"""A pipeline on this machine: what runs, what is taken from before, and what a failure stops."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mmrlhf.errors import LocalRunError, RunStoppedError
from mmrlhf.local.pipeline import pipeline_folder, run_pipeline
from mmrlhf.local.run import RunResult
from mmrlhf_api import Job
from mmrlhf_api.kinds import kind_of
from mmrlhf_api.pipelines import AlignmentRun
from mmrlhf_api.runs import RunLayout
from tests.unit.pipelines.specimens import STEPS, pipeline

ALL = ["weekly-judge", "weekly-score", "weekly-bench", "weekly-align"]


class Machine:
    """Runs jobs by pretending to: each leaves its outputs and a record."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ran: list[str] = []
        self.jobs: dict[str, Job] = {}
        self.fresh: list[str] = []
        self.fails: dict[str, Exception] = {}
        self.verdicts: dict[str, dict[str, str]] = {}
        for name in ("train/a.jsonl", "bench.jsonl", "base/config.json"):
            self.put(name, name)

    def put(self, name: str, content: str) -> None:
        path = self.folder / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    def start(self, **options: Any) -> AlignmentRun:
        """Run the pipeline of the specimens on files of this machine."""
        self.ran, self.fresh = [], []
        data = str(self.folder / "data")
        steps = options.pop("steps", {})
        body = pipeline(artifacts={"uri": str(self.folder / "runs")}, steps=steps)
        text = body.model_dump_json(by_alias=True)
        text = text.replace("s3://data/${parameters.week}", data).replace("s3://data", data)
        body = type(body).model_validate_json(text.replace("s3://models", data))
        return run_pipeline(
            body,
            state_dir=self.folder / "state",
            tell=lambda _: None,
            run_job=self.run,
            **options,
        )

    def run(self, job: Job, *, fresh: bool, **_: Any) -> RunResult:
        name = job.metadata.name
        self.ran.append(name)
        self.jobs[name] = job
        self.fresh += [name] if fresh else []
        if name in self.fails:
            raise self.fails[name]
        layout = RunLayout.of(job).within(job.spec.artifacts.uri)
        for one in kind_of(job).outputs(job.spec):
            path = Path(layout.prefix, one.path)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)
        record = {"verdict": self.verdicts[name]} if name in self.verdicts else {}
        Path(layout.manifest).write_text(json.dumps(record))
        return RunResult(layout.prefix, {}, self.folder)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def phases(found: AlignmentRun) -> dict[str, str]:
    assert found.status is not None
    return {one.name: one.phase.value for one in found.status.steps}


def taken(found: AlignmentRun) -> list[str]:
    assert found.status is not None
    return [one.name for one in found.status.steps if one.cached_from is not None]


def test_steps_run_in_turn_and_take_what_others_left(machine: Machine) -> None:
    found = machine.start()
    assert machine.ran == ALL
    assert set(phases(found).values()) == {"Succeeded"}
    assert found.status is not None
    assert (found.status.phase, found.status.summary) == ("Succeeded", "4/4")
    judged = {one.name: one.uri for one in found.status.steps[0].outputs}["model"]
    assert Path(judged).read_text() == "weekly-judge"
    assert machine.jobs["weekly-score"].spec.score.model == judged  # type: ignore[attr-defined]
    assert machine.jobs["weekly-align"].spec.reward.model_uri == judged  # type: ignore[attr-defined]


def test_what_is_unchanged_is_not_run_again_and_what_changed_is_with_all_that_follows(
    machine: Machine,
) -> None:
    first = machine.start()
    again = machine.start()
    assert (machine.ran, len(taken(again))) == ([], 4)
    assert again.status is not None
    assert first.status is not None
    for one, before in zip(again.status.steps, first.status.steps, strict=True):
        assert (one.outputs, one.key) == (before.outputs, before.key)
    machine.put("bench.jsonl", "other rankings")
    changed = machine.start()
    # align waits for bench and takes nothing of it.
    assert machine.ran == ["weekly-score", "weekly-bench"]
    assert taken(changed) == ["judge", "align"]
    machine.put("train/a.jsonl", "more rankings")
    machine.start()
    assert machine.ran == ALL
    # Each lies in a place of its own, so that none takes the other's results for its own.
    assert len(list((machine.folder / "runs/default/weekly-judge").iterdir())) == 2


def test_a_record_that_is_gone_no_cache_and_fresh_run_anew(machine: Machine) -> None:
    found = machine.start()
    assert found.status is not None
    Path(found.status.steps[2].manifest or "").unlink()
    machine.start()
    assert machine.ran == ["weekly-bench"]
    machine.start(fresh=True)
    assert machine.ran == machine.fresh == ALL
    machine.start(steps={"judge": {"cache": False}})
    assert machine.ran == ALL, "what nobody can compare is not taken from anywhere"


def test_a_failure_stops_what_needs_it_and_a_second_start_goes_on(machine: Machine) -> None:
    machine.fails["weekly-score"] = LocalRunError("row 3 is no record")
    found = machine.start()
    assert machine.ran == ["weekly-judge", "weekly-score"]
    assert phases(found) == {
        "judge": "Succeeded",
        "score": "Failed",
        "bench": "Skipped",
        "align": "Skipped",
    }
    assert found.status is not None
    assert (found.status.phase, found.status.message) == ("Failed", "failed: score")
    assert found.status.steps[1].message == "row 3 is no record"
    assert "needs score" in (found.status.steps[2].message or "")
    del machine.fails["weekly-score"]
    found = machine.start()
    assert machine.ran == ALL[1:]
    assert taken(found) == ["judge"]


def test_asked_to_stop_it_stops_and_goes_on_later(machine: Machine) -> None:
    machine.fails["weekly-bench"] = RunStoppedError("stopped")
    with pytest.raises(RunStoppedError):
        machine.start()
    machine.fails.clear()
    machine.start()
    assert machine.ran == ["weekly-bench", "weekly-align"]
    kept = pipeline_folder(pipeline(), machine.folder / "state") / "run.json"
    assert json.loads(kept.read_text())["status"]["summary"] == "4/4"


def test_what_a_gate_says_is_its_message(machine: Machine) -> None:
    machine.verdicts["weekly-bench"] = {"word": "Rejected", "sentence": "0 of 20 are won"}
    found = machine.start()
    assert found.status is not None
    assert found.status.steps[2].message == "Rejected: 0 of 20 are won"


def test_a_step_with_a_store_of_its_own_reads_with_that(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: set[str | None] = set()

    def no_store(uri: str, *, endpoint: str | None, region: str | None) -> tuple[Any, str]:
        asked.add(endpoint)
        raise OSError(f"{uri} is out of reach, {region}")

    monkeypatch.setattr("mmrlhf.local.pipeline.open_store", no_store)
    store = {"uri": "s3://runs", "endpoint": "https://s3.example.org"}
    own = {**STEPS["judge"]["spec"], "artifacts": {"uri": "s3://others"}}
    for judge, endpoints in (({}, {store["endpoint"]}), ({"spec": own}, {store["endpoint"], None})):
        asked.clear()
        run_pipeline(
            pipeline(artifacts=store, steps={"judge": judge}),
            state_dir=machine.folder / "state",
            tell=lambda _: None,
            run_job=lambda job, **_: RunResult(job.spec.artifacts.uri, {}, machine.folder),
        )
        assert asked == endpoints
