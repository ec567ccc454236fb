"""Checkpoints of earlier runs of the same name: gone on with, or told why not."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from mmrlhf_jobs.process.gang import Runtime
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from mmrlhf_jobs.training.checkpoints import Checkpoints, CheckpointState, RunInputs, misfit
from mmrlhf_jobs.training.earlier_runs import EarlierRuns
from tests.jobs.training.test_checkpoints import INPUTS, Number

ALONE = Runtime(0, 1, torch.device("cpu"))


class Job:
    """A name with runs: ``before`` has checkpoints of steps 2 and 4, ``now`` is new."""

    def __init__(self, folder: Path) -> None:
        self.store = ArtifactStore(str(folder / "store"))
        self.folder = folder
        self.told: list[str] = []
        for step in (2, 4):
            self.leave("before", step)

    def checkpoints_of(self, run: str) -> Checkpoints:
        scratch = self.folder / "scratch"
        return Checkpoints(self.store, prefix=run, scratch=scratch, keep=2, runtime=ALONE)

    def leave(self, run: str, step: int, inputs: RunInputs = INPUTS) -> None:
        state = CheckpointState(step, 1, "number", inputs, {"mean": step / 10}, f"rows {step}")
        self.checkpoints_of(f"team/job/{run}").save(Number(step), state)  # type: ignore[arg-type]

    def go_on(self, inputs: RunInputs = INPUTS) -> int:
        """Value of the engine after the earlier runs were looked at; -1 is a new one."""
        engine = Number(-1)
        state = EarlierRuns(self.store, "team/job/now", ALONE).restore(
            engine,  # type: ignore[arg-type]
            self.checkpoints_of,
            partial(misfit, inputs=inputs),
            self.told.append,
        )
        assert engine.value == (-1 if state is None else state.step)
        return engine.value

    def files(self) -> dict[str, bytes]:
        found = self.folder.glob("store/**/*")
        return {str(path): path.read_bytes() for path in found if path.is_file()}


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


def test_the_same_training_goes_on_whatever_run_began_it(job: Job) -> None:
    before = job.files()
    assert job.go_on() == 4
    assert job.told == ["going on from step 4, the checkpoint of earlier run team/job/before"]
    assert job.files() == before


def test_the_run_that_came_furthest_is_taken(job: Job) -> None:
    job.leave("further", 9)
    job.leave("other", 12, replace(INPUTS, model="another"))
    assert job.go_on() == 9
    assert len(job.told) == 2


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        (replace(INPUTS, spec="x"), "it was made from another spec"),
        (replace(INPUTS, model="x", rewards="y"), "it was made from another rewards and model"),
    ],
)
def test_what_is_not_used_is_told(job: Job, inputs: RunInputs, says: str) -> None:
    before = job.files()
    assert job.go_on(inputs) == -1
    (told,) = job.told
    assert told == f"the checkpoint of step 4 of earlier run team/job/before is not used: {says}"
    assert job.files() == before


def test_one_of_another_form_is_told(job: Job) -> None:
    state = CheckpointState(9, 1, "number", INPUTS, form=3)
    job.checkpoints_of("team/job/before").save(Number(9), state)  # type: ignore[arg-type]
    assert job.go_on() == -1
    assert "step 9 of earlier run team/job/before is not used: it was written by an" in job.told[0]


def test_a_damaged_one_is_told_and_left_alone(job: Job) -> None:
    shutil.rmtree(job.folder / "store/team/job/before/checkpoints/step-00000004/rank-0")
    before = job.files()
    assert job.go_on() == -1
    assert "is not used: it is damaged" in job.told[0]
    assert job.files() == before
