"""A training that goes on with another number of processes, another ZeRO stage, another engine."""

from __future__ import annotations

import json
import os
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from mmrlhf_jobs.process.gang import Runtime
from tests.jobs.training.worlds import go_on
from tests.jobs.warm import AT_IMPORT, Program

ALONE = Runtime(0, 1, torch.device("cpu"))
STEPS = 3
"""Of each world."""


def in_gang(
    folder: Path, processes: int, stage: int, until: int, offload: str
) -> list[dict[str, Any]]:
    arguments = [str(folder), str(stage), str(until), offload]
    env = {**os.environ, **AT_IMPORT}
    program = Program("tests.jobs.training.worlds", arguments, env, processes=processes)
    output, errors = program.communicate()
    assert program.returncode == 0, errors
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]


def test_losses_are_those_of_a_training_that_was_never_stopped(tmp_path: Path) -> None:
    """From 4 processes to 2, to 8 and to 1, from stage 3 to 2, to 1, and to plain torch.

    Weights, masters and moments are kept in main memory at first, the latter alone then.
    """
    worlds = [(4, 3, "parameters"), (2, 2, "optimizer"), (8, 1, "none")]
    told = [
        in_gang(tmp_path / "moved", processes, stage, STEPS * (number + 1), offload)
        for number, (processes, stage, offload) in enumerate(worlds)
    ]
    told.append(go_on(tmp_path / "moved", 0, STEPS * 4, ALONE))
    whole = go_on(tmp_path / "whole", 0, STEPS * 4, ALONE)
    for number, (rel, expected) in enumerate(zip((1e-5, 0.05), whole, strict=True)):
        parts = [world[number] for world in told]
        losses = [loss for part in parts for loss in part["losses"]]
        assert losses == pytest.approx(expected["losses"], rel=rel)
        assert parts[-1]["weights"] == pytest.approx(expected["weights"], rel=rel, abs=rel)
        # Every master and moment is the very one that was left, whoever holds it.
        for before, after in pairwise(parts):
            assert after["found"] == before["left"]


CALLS = 14
"""Calls to the store that each process makes at least in a checkpoint of its own and of all."""


def test_killed_at_any_call_to_the_store_it_goes_on_in_another_world(tmp_path: Path) -> None:
    """From 4 processes to 2 to 8 and to 1, each of which is killed while it saves a checkpoint."""
    draw = random.Random(17)
    # Rank 0 makes a checkpoint visible and removes the one before, after its own part.
    worlds = [(4, 3, f"2:2:{draw.randint(1, CALLS)}"), (2, 2, f"0:4:{draw.randint(1, 3 * CALLS)}")]
    worlds += [(8, 1, f"5:6:{draw.randint(1, CALLS)}"), (1, 0, "-")]
    whole = go_on(tmp_path / "whole", 0, STEPS * 3, ALONE)[0]
    states: dict[int, set[str]] = {}
    may_be = {0}
    for processes, stage, killed in worlds:
        arguments = [str(tmp_path), str(stage), str(STEPS * 3), killed]
        env = {**os.environ, **AT_IMPORT}
        name = "tests.jobs.training.killed_worlds"
        program = Program(name, arguments, env, processes=processes)
        output, errors = program.communicate()
        assert (program.returncode == 0) is (killed == "-"), errors
        found, *steps = [json.loads(line) for line in output.splitlines() if line[:1] == "{"]
        assert found["step"] in may_be, "that of the step before, or that which was being saved"
        # It goes on from the very state that was left at that step, whoever holds it.
        assert found["step"] == 0 or found["state"] in states[found["step"]]
        for row in steps:
            assert row["loss"] == pytest.approx(whole["losses"][row["step"] - 1], rel=1e-5)
            states.setdefault(row["step"], set()).add(row["state"])
        if killed != "-":
            last = int(killed.split(":")[1])
            assert steps[-1]["step"] == last, "it was killed there"
            may_be = {last - 1, last}
    assert steps[-1]["step"] == STEPS * 3


def test_the_same_world_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    whole = go_on(tmp_path / "whole", 0, 2 * STEPS, ALONE)
    first = go_on(tmp_path / "stopped", 0, STEPS, ALONE)
    second = go_on(tmp_path / "stopped", 0, 2 * STEPS, ALONE)
    for number, expected in enumerate(whole):
        assert first[number]["losses"] + second[number]["losses"] == expected["losses"]
        assert second[number]["left"] == expected["left"]
