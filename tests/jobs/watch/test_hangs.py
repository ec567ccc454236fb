"""Processes that die or stand still: the job ends, and says which, where, and on which rows."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.jobs.training.world import World
from tests.jobs.warm import AT_IMPORT, Program
from tests.ports import free_port

LIMIT = 10
"""Seconds of no advance; a step of this training takes some milliseconds of a core."""
ROW = "train.jsonl, row 12"
"""The second one of rank 1 in step 3."""


def start(folder: Path, fault: str, *, stage: int = 0, nodes: int = 1) -> list[Program]:
    folder.mkdir(exist_ok=True)
    job = folder / "job.yaml"
    job.write_text(yaml.safe_dump(World(folder).job()))
    port = free_port()
    common = {
        **os.environ,
        **AT_IMPORT,
        "GLOO_SOCKET_IFNAME": "lo",
        "MMRLHF_JOB": str(job),
        "MMRLHF_HANG_TIMEOUT_SECONDS": str(LIMIT),
        "PET_NNODES": str(nodes),
        "PET_NPROC_PER_NODE": str(2 // nodes),
        "PET_MASTER_ADDR": "127.0.0.1",
        "PET_MASTER_PORT": str(port),
    }
    return [
        Program(
            "tests.jobs.watch.node",
            [fault, str(stage)],
            {
                **common,
                "PET_NODE_RANK": str(node),
                "MMRLHF_TERMINATION_FILE": str(folder / f"end-{node}.json"),
            },
        )
        for node in range(nodes)
    ]


def end(programs: list[Program], folder: Path) -> list[dict[str, Any]]:
    """Wait for all, which never is for ever: that is what is tested; how each says it ended."""
    try:
        codes = [program.wait(timeout=600) for program in programs]
    finally:
        for program in programs:
            program.kill()
    found = [json.loads((folder / f"end-{n}.json").read_text()) for n in range(len(programs))]
    assert [one["exitCode"] for one in found] == codes
    return found


def test_a_training_in_which_nothing_goes_wrong_ends_well(tmp_path: Path) -> None:
    (program,) = start(tmp_path, "nothing")
    _, errors = program.communicate(timeout=600)
    assert program.returncode == 0, errors
    assert not (tmp_path / "end-0.json").exists()
    assert not list(tmp_path.rglob("collectives"))


def test_a_killed_process_ends_the_job_with_its_signal_and_rows(tmp_path: Path) -> None:
    (told,) = end(start(tmp_path, "killed"), tmp_path)
    assert told == {
        "exitCode": 128 + signal.SIGKILL,
        "reason": "ProcessFailed",
        "message": "rank 1 was killed (SIGKILL); the machine may have run out of memory. It was"
        f" in step 3, forward of micro-batch 2 of 2, on {ROW}",
    }


@pytest.mark.parametrize(
    ("fault", "stage", "how"),
    [
        ("stopped", 0, "is stopped by a signal (SIGSTOP) since"),
        ("collective", 3, "has not got on for"),
        ("loop", 3, "has not got on for"),
    ],
)
def test_a_process_that_stands_still_ends_the_job(
    tmp_path: Path, fault: str, stage: int, how: str
) -> None:
    (program,) = start(tmp_path, fault, stage=stage)
    (told,) = end([program], tmp_path)
    assert (told["exitCode"], told["reason"]) == (142, "Stalled")
    assert told["message"].startswith(f"rank 1 on node 0 {how}"), told
    assert (
        f"in step 3, forward of micro-batch 2 of 2, on {ROW}. rank 0 is in step 3"
        in (told["message"])
    )
    log = next(tmp_path.rglob("logs/attempt-0/node-0/*/*.log")).read_text()
    records = {path.name for path in tmp_path.rglob("collectives/*.json")}
    if fault == "stopped":
        assert records == {"collectives-rank-0-gloo.json"}
    else:
        assert records == {"collectives-rank-0-gloo.json", "collectives-rank-1-gloo.json"}
        assert "_go_wrong" in log, "the stacks are in the log"
    if fault == "collective":
        assert "rank 1 waits in gloo:all_reduce of Float[3], number 1 of group" in told["message"]


@pytest.mark.parametrize("fault", ["collective", "error"])
def test_the_other_node_ends_for_the_same_reason(tmp_path: Path, fault: str) -> None:
    first, second = end(start(tmp_path, fault, nodes=2), tmp_path)
    assert first["reason"] == "PeerLost"
    if fault == "error":
        assert second == {
            "exitCode": 1,
            "reason": "TrainingError",
            "message": "step 3: the loss of row 12 is no number",
        }
        assert first["message"] == f"node 1 has failed: {second['message']}"
    else:
        assert (second["exitCode"], second["reason"]) == (142, "Stalled")
        for told in (first, second):
            assert told["message"].startswith("rank 1 on node 1 has not got on for")
            assert ROW in told["message"]
