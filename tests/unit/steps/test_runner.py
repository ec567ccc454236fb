"""Steps through the one runner: by command line, by file, by their old command lines."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import pytest
import yaml

from mmrlhf_jobs.__main__ import main
from mmrlhf_jobs.errors import StorageUnavailableError
from mmrlhf_jobs.steps import registry
from mmrlhf_jobs.steps.registry import step_names
from mmrlhf_jobs.steps.spec import StepSpec
from mmrlhf_jobs.steps.step import Outcome, Step, StepContext
from mmrlhf_jobs.storage.journal import Journal
from tests.unit.steps.world import CASES, Case, model_server

NAMES = [case.step for case in CASES]


def made(case: Case, out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in case.made}


def folders(tmp_path: Path, *names: str) -> list[Path]:
    for name in names:
        (tmp_path / name).mkdir()
    return [tmp_path / name for name in names]


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_file_and_old_command_line_give_the_same_bytes(
    case: Case, inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line, file, old = folders(tmp_path, "line", "file", "old")
    assert main(case.arguments(inputs, line)) == 0, capsys.readouterr().err
    told = capsys.readouterr()
    assert "note: python -m" not in told.err
    assert "done: artifacts are at" in told.err
    step_file = case.write(tmp_path / "step.yaml", inputs, file)
    assert main(["step", str(step_file)]) == 0, capsys.readouterr().err
    assert capsys.readouterr().out == told.out.replace("/line", "/file")
    assert all(made(case, line).values()), "files with nothing in them would prove nothing"
    assert made(case, file) == made(case, line)
    if not case.old:  # newer than those command lines
        return
    module, arguments = case.old_arguments(inputs, old)
    assert import_module(f"mmrlhf_jobs.{module}.__main__").main(arguments) == 0
    again = capsys.readouterr()
    assert again.out == told.out.replace("/line", "/old")
    assert again.err.splitlines()[0] == (
        f"note: python -m mmrlhf_jobs.{module} goes in the next version;"
        f" write python -m mmrlhf_jobs {case.step}"
    )
    assert made(case, old) == made(case, line)


def test_every_step_without_torch_has_a_case() -> None:
    steps = {name: registry.find_step(name) for name in step_names()}
    torch = {name for name, step in steps.items() if step.shared or step.computes}
    assert {*NAMES, *torch} == set(step_names())
    assert torch == {"score", "improve", "answers", "preferences", "estimate", "lmms-eval"}


def test_steps_without_torch_run_without_it(inputs: Path, tmp_path: Path) -> None:
    code = """
import sys
from mmrlhf_jobs.__main__ import main
code = main(sys.argv[1:])
sys.exit(code or ("torch" in sys.modules and "torch was imported"))
"""
    (case,) = (one for one in CASES if one.step == "import")
    (out,) = folders(tmp_path, "out")
    arguments = [sys.executable, "-c", code, *case.arguments(inputs, out)]
    subprocess.run(arguments, check=True, capture_output=True)


def test_a_process_that_has_done_its_work_does_not_look_for_rings_once_more(
    inputs: Path, tmp_path: Path
) -> None:
    code = """
import atexit, gc, runpy
class Ring:
    def __init__(self):
        self.itself = self
    def __del__(self):
        print("found")
gc.disable()
Ring()
atexit.register(print, "ended")
runpy.run_module("mmrlhf_jobs", run_name="__main__", alter_sys=True)
"""
    (case,) = (one for one in CASES if one.step == "import")
    (out,) = folders(tmp_path, "out")
    arguments = [sys.executable, "-c", code, *case.arguments(inputs, out)]
    told = subprocess.run(arguments, check=True, capture_output=True, text=True).stdout
    assert "ended" in told
    assert "found" not in told


def test_an_old_command_line_without_a_step_names_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert import_module("mmrlhf_jobs.annotation.__main__").main([]) == 2
    message = capsys.readouterr().err
    assert "write python -m mmrlhf_jobs annotate-export (was: export) or annotate-import" in message


def test_progress_and_end_are_told_as_those_of_jobs(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, end = tmp_path / "progress.jsonl", tmp_path / "end.json"
    monkeypatch.setenv("MMRLHF_PROGRESS_FILE", str(log))
    monkeypatch.setenv("MMRLHF_TERMINATION_FILE", str(end))
    (case,) = (one for one in CASES if one.step == "import")
    assert main(case.arguments(inputs, tmp_path)) == 0
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert [event["event"] for event in events] == ["phase", "step", "step", "done"]
    assert (events[-2]["itemsDone"], events[-2]["itemsTotal"]) == (2, 2)
    assert events[-1]["artifacts"] == str(tmp_path / "records.jsonl")
    assert events[-1]["metrics"]["records"] == 1
    assert not end.exists(), "it has ended well"
    assert main(["import", "trl", str(tmp_path / "none.jsonl"), str(tmp_path / "o.jsonl")]) == 2
    said = json.loads(end.read_text())
    assert (said["exitCode"], said["reason"]) == (2, "InvalidInput")


class ToySpec(StepSpec):
    """A step of the tests."""

    step: Literal["toy"] = "toy"
    """Name of the step."""
    do: str = "nothing"
    """What to do."""


def play(spec: ToySpec, context: StepContext) -> Outcome:
    match spec.do:
        case "leave":
            raise StorageUnavailableError("the store is away")
        case "break":
            raise ZeroDivisionError("oh")
        case "stop":
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
    assert context.scratch.is_dir()
    assert context.storage.endpoint == "http://store"
    assert context.storage.patience == 7
    return Outcome("here", {"figure": 1, "words": ["no figure"]})


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A new step is a module with a STEP and a line in the registry."""
    module = SimpleNamespace(STEP=Step("A toy.", ToySpec, play))
    monkeypatch.setitem(sys.modules, "toy_step", module)
    monkeypatch.setitem(registry.MODULES, "toy", "toy_step")
    return ["toy", "--endpoint", "http://store", "--outage-seconds", "7"]


def test_a_new_step_is_a_module_and_a_line(toy: list[str], tmp_path: Path) -> None:
    assert main(toy) == 0
    file = tmp_path / "toy.yaml"
    file.write_text("step: toy\nstorage: {endpoint: 'http://store', outageSeconds: 7}\n")
    assert main(["step", str(file)]) == 0


@pytest.mark.parametrize(
    ("do", "code", "message"),
    [
        ("leave", 157, "error: the store is away"),
        ("break", 1, "ZeroDivisionError: oh. This is a bug"),
        ("stop", 143, "error: stopped as asked; what is done is kept"),
    ],
)
def test_a_step_ends_as_jobs_do(
    toy: list[str], do: str, code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    assert main([*toy, "--do", do]) == code
    assert message in capsys.readouterr().err
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_a_step_that_waits_for_a_server_is_stopped_at_once(inputs: Path, tmp_path: Path) -> None:
    """And what was answered is kept: it is asked for the rest alone."""
    held = threading.Event()
    (case,) = (one for one in CASES if one.step == "critiques")
    endpoints = tmp_path / "endpoints.yaml"
    arguments = [*case.arguments(inputs, tmp_path), "--endpoints", str(endpoints)]
    with model_server(answers=1, held=held) as url:
        server = {"name": "m", "baseUrl": url, "model": "m", "concurrency": 1}
        endpoints.write_text(yaml.safe_dump({"endpoints": [server]}))
        command = [sys.executable, "-m", "mmrlhf_jobs", *arguments]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            assert held.wait(timeout=600)
            process.terminate()
            _, message = process.communicate()
    assert process.returncode == 143, message
    assert "error: stopped as asked; what is done is kept" in message
    assert "Traceback" not in message
    with Journal(tmp_path / "kept") as journal:
        assert len(journal) == 1
    assert not (tmp_path / "enhanced.jsonl").exists()


def test_a_step_that_shares_nothing_refuses_several_processes(
    toy: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(toy) == 2
    assert "toy runs as one process" in capsys.readouterr().err
