"""A training that goes on with another number of processes, another ZeRO stage, another engine.

MM-DPO with an adapter, a reward model without and with one; MM-DPO of all weights does so as whole
jobs (`test_training`).
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from mmrlhf_jobs.process.gang import Runtime
from tests.jobs.models.zoo import save
from tests.jobs.training.killed_worlds import CASE
from tests.jobs.training.worlds import begin_with, go_on
from tests.jobs.warm import AT_IMPORT, Program

IMPORTS = (
    "tests.jobs.training.divided",
    "mmrlhf_jobs.training.engines.deepspeed_engine",
    "peft",
    "transformers.models.qwen3.modeling_qwen3",
)
ALONE = Runtime(0, 1, torch.device("cpu"))
STEPS = 3
"""Of each world."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save("qwen3", tmp_path_factory.mktemp("worlds") / "model", scale=3.0)


def in_gang(processes: int, module: str, *arguments: Path | int | str) -> tuple[int, list[Any]]:
    """How a gang has ended, and the lines of JSON that it wrote."""
    name = f"tests.jobs.training.{module}"
    env = {**os.environ, **AT_IMPORT}
    program = Program(name, [*map(str, arguments)], env, processes=processes, imports=IMPORTS)
    output, errors = program.communicate()
    sys.stderr.write(errors)
    return program.wait(), [json.loads(one) for one in output.splitlines() if one[:1] == "{"]


def test_losses_are_those_of_a_training_that_was_never_stopped(model: Path, tmp_path: Path) -> None:
    """From 4 processes to 2, to 8 and to 1, from stage 3 to 2, to 1, and to plain torch.

    Weights, masters and moments are kept in main memory at first, the latter alone then.
    """
    moved = tmp_path / "moved"
    told: list[list[Any]] = []
    for processes, stage, offload in ((4, 3, "parameters"), (2, 2, "optimizer"), (8, 1, "none")):
        until = STEPS * (len(told) + 1)
        code, found = in_gang(processes, "worlds", model, moved, stage, until, offload)
        assert code == 0
        told.append(found)
    told.append(go_on(model, moved, 0, STEPS * 4, ALONE))
    whole = go_on(model, tmp_path / "whole", 0, STEPS * 4, ALONE)
    for number, (rel, expected) in enumerate(zip((1e-5, 0.05), whole, strict=True)):
        parts = [world[number] for world in told]
        losses = [loss for part in parts for loss in part["losses"]]
        assert losses == pytest.approx(expected["losses"], rel=rel)
        assert parts[-1]["weights"] == pytest.approx(expected["weights"], rel=rel, abs=rel)
        # Every master and moment is the very one that was left, whoever holds it.
        for before, after in pairwise(parts):
            assert after["found"] == before["left"]


WORLDS = ((4, 3, 2), (2, 2, 4), (8, 1, 6))
"""Processes, ZeRO stage, and the step whose checkpoint one of them does not live to see."""
CALLS = 14
"""Calls to the store that each process makes at least in a checkpoint of its own and of all."""


def losses_of(model: Path) -> list[float]:
    """Of a training that nobody kills."""
    alone = begin_with(model, CASE, 0, ALONE)
    return [alone.step(number).loss for number in range(STEPS * 3)]


def live(model: Path, folder: Path, losses: Sequence[float], kills: Sequence[str]) -> None:
    """A training in one world after another, killed in each at ``RANK:STEP:CALL``, and its end."""
    states: dict[int, set[str]] = {}
    may_be = {0}
    worlds = [(*world[:2], killed) for world, killed in zip(WORLDS, kills, strict=True)]
    for processes, stage, killed in (*worlds, (1, 0, "-")):
        code, (found, *steps) = in_gang(
            processes, "killed_worlds", model, folder, stage, STEPS * 3, killed
        )
        assert code == (0 if killed == "-" else 128 + signal.SIGKILL)
        assert found["step"] in may_be, "that of the step before, or that which was being saved"
        # It goes on from the very state that was left at that step, whoever holds it.
        assert found["step"] == 0 or found["state"] in states[found["step"]]
        for row in steps:
            assert row["loss"] == pytest.approx(losses[row["step"] - 1], rel=1e-5)
            states.setdefault(row["step"], set()).add(row["state"])
        if killed != "-":
            last = int(killed.split(":")[1])
            assert steps[-1]["step"] == last, "it was killed there"
            may_be = {last - 1, last}
    assert steps[-1]["step"] == STEPS * 3


def test_killed_at_any_call_to_the_store_it_goes_on_in_another_world(
    model: Path, tmp_path: Path
) -> None:
    """From 4 processes to 2 to 8 and to 1, each of which is killed while it saves a checkpoint.

    `every_call` does so at every call.
    """
    draw = random.Random(17)
    # Rank 0 makes a checkpoint visible and removes the one before, after its own part.
    most = ((2, CALLS), (0, 3 * CALLS), (5, CALLS))
    drawn = [draw.randint(1, calls) for _, calls in most]
    kills = [
        f"{rank}:{step}:{call}"
        for (rank, _), (*_, step), call in zip(most, WORLDS, drawn, strict=True)
    ]
    live(model, tmp_path, losses_of(model), kills)


def test_the_same_world_goes_on_to_the_same_bits(model: Path, tmp_path: Path) -> None:
    whole = go_on(model, tmp_path / "whole", 0, 2 * STEPS, ALONE)
    first = go_on(model, tmp_path / "stopped", 0, STEPS, ALONE)
    second = go_on(model, tmp_path / "stopped", 0, 2 * STEPS, ALONE)
    for number, expected in enumerate(whole):
        assert first[number]["losses"] + second[number]["losses"] == expected["losses"]
        assert second[number]["left"] == expected["left"]
