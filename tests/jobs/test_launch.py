"""The launcher of a node: waiting for the first one, exit codes of what failed first."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from mmrlhf_jobs.errors import RunError
from mmrlhf_jobs.launch import main, wait_for_first_node
from tests.jobs.training.world import World
from tests.patience import PATIENCE
from tests.ports import free_port


def test_a_listening_node_is_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        wait_for_first_node("127.0.0.1", server.getsockname()[1], deadline=5)


@pytest.mark.parametrize(
    ("address", "says"),
    [("127.0.0.1", "takes no connection"), ("node-0.invalid", "does not resolve")],
)
def test_a_node_that_does_not_come_is_named_with_the_reason(address: str, says: str) -> None:
    port = free_port()  # on which nobody listens
    times = iter([0.0, 5.0, 11.0])
    with pytest.raises(RunError, match=says) as caught:
        wait_for_first_node(
            address, port, deadline=10, clock=lambda: next(times), sleep=lambda _: None
        )
    assert f"{address}:{port}" in str(caught.value)
    assert "pod with index 0" in str(caught.value)


def test_a_name_that_resolves_late_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve, names = socket.getaddrinfo, iter(("late", "late"))

    def late(*arguments: Any, **options: Any) -> Any:
        if next(names, None):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return resolve(*arguments, **options)

    naps: list[float] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(socket, "getaddrinfo", late)
        port = server.getsockname()[1]
        wait_for_first_node("127.0.0.1", port, deadline=60, clock=lambda: 0.0, sleep=naps.append)
    assert len(naps) == 2


def launch(world: World, job: Path, *, rank: int = 0, **env: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "mmrlhf_jobs.launch", "mmdpo"],
        env={
            **os.environ,
            "MMRLHF_JOB": str(job),
            "MMRLHF_TERMINATION_FILE": str(world.folder / f"end-{rank}.json"),
            "MMRLHF_PROGRESS_FILE": str(world.folder / "progress.jsonl"),
            "OMP_NUM_THREADS": "1",
            "DS_ACCELERATOR": "cpu",
            "GLOO_SOCKET_IFNAME": "lo",
            "PET_NNODES": "1",
            "PET_NODE_RANK": str(rank),
            "PET_NPROC_PER_NODE": "1",
            "PET_RDZV_BACKEND": "static",
            "PET_RDZV_ID": "test",
            "PET_MASTER_ADDR": "127.0.0.1",
            "PET_MASTER_PORT": str(free_port()),
            "PET_MAX_RESTARTS": "0",
            **env,
        },
        stderr=subprocess.DEVNULL,
    )


def test_bad_input_ends_with_the_jobs_own_exit_code(world: World) -> None:
    job = world.write_job(world.job(data__train__uri="/nowhere.jsonl"))
    assert launch(world, job).wait(timeout=600) == 2
    end = json.loads((world.folder / "end-0.json").read_text())
    assert end["exitCode"] == 2
    assert "/nowhere.jsonl" in end["message"]
    assert "/nowhere.jsonl" in next(world.folder.rglob("logs/attempt-0/node-0/*/*.log")).read_text()


def test_a_killed_process_ends_with_the_code_of_its_signal(world: World) -> None:
    job = world.write_job(world.job(training__epochs=1000))
    agent = launch(world, job)
    try:
        deadline = time.monotonic() + 120 * PATIENCE
        while not any(event["event"] == "step" for event in world.events()):
            assert agent.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        (child,) = Path(f"/proc/{agent.pid}/task/{agent.pid}/children").read_text().split()
        os.kill(int(child), signal.SIGKILL)
        assert agent.wait(timeout=300) == 128 + signal.SIGKILL
    finally:
        agent.kill()
        agent.wait()
    end = json.loads((world.folder / "end-0.json").read_text())
    assert end["exitCode"] == 137


def test_a_node_whose_first_node_never_comes_ends_with_a_retryable_code(world: World) -> None:
    job = world.write_job(world.job())
    agent = launch(world, job, rank=1, PET_NNODES="2", MMRLHF_GANG_TIMEOUT_SECONDS="1")
    assert agent.wait(timeout=300) == 141
    assert json.loads((world.folder / "end-1.json").read_text())["reason"] == "PeerLost"


@pytest.mark.parametrize(
    ("rank", "nodes", "code", "stays"),
    [("0", "2", 0, True), ("1", "2", 0, False), ("0", "1", 0, False), ("0", "2", 1, False)],
)
def test_the_first_node_stays_a_little_for_the_others_when_all_is_well(
    rank: str, nodes: str, code: int, stays: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("mmrlhf_jobs.launch._run_node", lambda *_: code)
    environ = {"PET_NODE_RANK": rank, "PET_NNODES": nodes}
    assert main(["mmdpo"], environ, sleep=slept.append) == code
    assert bool(slept) is stays


def test_the_collector_rests_while_torch_is_imported() -> None:
    code = """
import gc, sys
from mmrlhf_jobs.launch import main
looks = []
gc.callbacks.append(lambda phase, info: looks.append(info["generation"]))
begun = lambda words: print("torch" in sys.modules, looks.count(2))
sys.exit(main(["mmdpo"], {}, gang=begun))
"""
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert told.stdout == "True 0\n"
