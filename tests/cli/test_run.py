"""Local runs: real torchx, torchrun and gloo, with a stub for the job package itself."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.jobs import stub_job_text
from tests.patience import PATIENCE

Command = Callable[..., subprocess.CompletedProcess[str]]


def run_folder(tmp_path: Path) -> Path:
    (folder,) = (tmp_path / "state" / "mmrlhf" / "runs").iterdir()
    return folder


def leftovers(tmp_path: Path) -> list[str]:
    """Return the processes of this test's runs that are still there."""
    mark = f"STUB_SAVED={tmp_path}".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:  # it ended in the meantime, or is not ours to look at
            continue
    return found


def test_a_job_runs_to_its_end(command: Command, tmp_path: Path) -> None:
    done = command("run", "-f", "-", "--local", stdin=stub_job_text(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:2] == ["MMDPOJob default/demo succeeded", "artifacts: out"]
    lines = done.stderr.splitlines()
    assert lines[0].startswith("MMDPOJob default/demo: logs in ")
    assert lines[1] == "start: ['mmdpo']"
    assert lines[-2].startswith("step 5/5  loss 0.2000  margin 0.5000  accuracy 0.500")
    assert lines[-1] == "note: one row was skipped"
    folder = run_folder(tmp_path)
    assert json.loads((folder / "job.json").read_text())["spec"]["artifacts"] == {"uri": "out"}
    (log,) = folder.glob("logs/*/node-0/*/attempt_0/0/stdout.log")
    assert log.read_text() == "rank 0 says hello on stdout\n"


def test_nodes_and_processes_form_one_group(command: Command, tmp_path: Path) -> None:
    text = stub_job_text(tmp_path, resources={"nodes": 2, "processesPerNode": 2})
    arguments = ["--set", "spec.training.epochs=2", "--fresh", "-o", "json"]
    done = command("run", "-f", "-", "--local", *arguments, stdin=text)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["phase"] == "Succeeded"
    assert result["metrics"]["world"] == 4
    assert result["metrics"]["sum"] == 0 + 1 + 2 + 3
    assert result["metrics"]["fresh"] == 1
    assert result["metrics"]["threads"] == max(1, len(os.sched_getaffinity(0)) // 4)
    assert "step 10/10" in done.stderr
    assert len(list(run_folder(tmp_path).glob("logs/*/node-*/*/attempt_0/*/stdout.log"))) == 4


@pytest.mark.parametrize(
    ("mode", "code", "message"),
    [
        ("invalid", 2, "data.jsonl, row 3: no responses; add two at least"),
        ("crash", 1, "rank 0 ended with exit code 1: RuntimeError: boom"),
        ("killed", 1, "rank 0 was killed (SIGKILL); the machine may have run out of memory"),
    ],
)
def test_a_failure_is_one_message_with_the_jobs_exit_code(
    command: Command, tmp_path: Path, mode: str, code: int, message: str
) -> None:
    done = command("run", "-f", "-", "--local", stdin=stub_job_text(tmp_path, mode))
    assert (done.returncode, done.stdout) == (code, "")
    assert f"error: {message}\nfull log: " in done.stderr
    assert "Traceback" not in done.stderr
    log = Path(done.stderr.rsplit("full log: ", 1)[1].strip())
    assert log.is_file()
    assert not leftovers(tmp_path)


def test_nodes_that_do_not_notice_a_failure_are_stopped(command: Command, tmp_path: Path) -> None:
    text = stub_job_text(tmp_path, "invalid", resources={"nodes": 2})
    started = time.monotonic()
    done = command("run", "-f", "-", "--local", stdin=text)
    assert done.returncode == 2
    assert "node 0 failed; the others stop as well" in done.stderr
    assert "error: data.jsonl, row 3" in done.stderr
    assert time.monotonic() - started < 60 * PATIENCE  # the other node would sleep for 600 s
    assert not leftovers(tmp_path)


@contextmanager
def hanging_run(tmp_path: Path, *, save_seconds: str = "0.5") -> Iterator[subprocess.Popen[str]]:
    """Start a run of two processes that waits to be stopped."""
    path = tmp_path / "job.json"
    data = json.loads(stub_job_text(tmp_path, "hang", resources={"processesPerNode": 2}))
    env = data["spec"]["podTemplate"]["env"]
    env.append({"name": "STUB_SAVE_SECONDS", "value": save_seconds})
    path.write_text(json.dumps(data))
    process = subprocess.Popen(
        [sys.executable, "-m", "mmrlhfctl", "run", "-f", str(path), "--local"],
        cwd=tmp_path,
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    try:
        read_until(process, "step 2/5")  # the step is told once SIGTERM is handled by all
        yield process
    finally:
        process.kill()
        process.communicate()


def read_until(process: subprocess.Popen[str], text: str) -> None:
    """Read its standard error up to the line that begins so."""
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(text):
            return
    pytest.fail(f"it ended without {text!r}")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_lets_the_job_save_first(tmp_path: Path, number: int, code: int) -> None:
    with hanging_run(tmp_path) as process:
        process.send_signal(number)
        out, err = process.communicate(timeout=300)
    assert (process.returncode, out) == (code, "")
    assert "stopping: the job saves a checkpoint first" in err
    assert "error: stopped: saved a checkpoint at step 2; the same command goes on" in err
    assert {path.name for path in tmp_path.glob("saved.*")} == {"saved.0", "saved.1"}
    assert not leftovers(tmp_path)


def test_a_second_interrupt_kills(tmp_path: Path) -> None:
    with hanging_run(tmp_path, save_seconds="500") as process:
        process.send_signal(signal.SIGINT)
        read_until(process, "stopping: ")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=600)
    assert process.returncode == 130
    assert not list(tmp_path.glob("saved.*"))
    assert not leftovers(tmp_path)


def test_a_run_is_not_started_twice(command: Command, tmp_path: Path) -> None:
    with hanging_run(tmp_path) as process:
        done = command("run", "-f", "job.json", "--local")
        assert done.returncode == 1
        assert done.stderr == f"error: this job is running already (process {process.pid})\n"
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=300)


def test_a_terminal_gets_a_bar_and_colours(tmp_path: Path) -> None:
    def on_terminal(**env: str) -> str:
        path = tmp_path / "job.json"
        path.write_text(stub_job_text(tmp_path, "alone"))
        pid, terminal = pty.fork()
        if pid == 0:
            environ = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state"), "COLUMNS": "150"}
            os.execve(
                sys.executable,
                [sys.executable, "-m", "mmrlhfctl", "run", "-f", str(path), "--local"],
                {**environ, "TERM": "xterm-256color", **env},
            )
        shown = b""
        while True:
            try:
                piece = os.read(terminal, 65536)
            except OSError:  # Linux says EIO when the other side is gone
                break
            if not piece:
                break
            shown += piece
        os.close(terminal)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        return shown.decode()

    colour = re.compile(r"\x1b\[[0-9;]*3[0-9]")
    with_colours = on_terminal()
    assert "step 5/5" in with_colours
    assert colour.search(with_colours)
    assert not colour.search(on_terminal(NO_COLOR="1"))


def test_without_local_the_way_to_run_is_said(command: Command, tmp_path: Path) -> None:
    done = command("run", "-f", "-", stdin=stub_job_text(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert "add --local" in done.stderr
    assert "use mmrlhfctl submit -f -" in done.stderr


def test_a_wrong_job_is_not_started(command: Command, tmp_path: Path) -> None:
    arguments = ["--set", "spec.training.epochs=0", "--set", "spec.objective.beta.w=-1"]
    done = command("run", "-f", "-", "--local", *arguments, stdin=stub_job_text(tmp_path))
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: --set spec.training.epochs=0: spec.training.epochs: must be at least 1 (given: 0)",
        (
            "error: --set spec.objective.beta.w=-1: spec.objective.beta.w: must be at least 0 "
            "(given: -1)"
        ),
    ]
    assert not (tmp_path / "state").exists()


def test_gpus_that_are_not_there_are_missed_before_the_start(
    command: Command, tmp_path: Path
) -> None:
    text = stub_job_text(tmp_path, resources={"gpusPerNode": 4, "processesPerNode": 4, "nodes": 2})
    done = command("run", "-f", "-", "--local", stdin=text, CUDA_VISIBLE_DEVICES="0,1")
    assert done.returncode == 2
    assert "asks for 8 GPUs (spec.resources) and this machine has 2" in done.stderr


def test_secrets_come_from_the_environment(command: Command, tmp_path: Path) -> None:
    data = json.loads(stub_job_text(tmp_path, "alone"))
    secret = {"name": "HF_TOKEN", "secretKeyRef": {"name": "hf", "key": "token"}}
    data["spec"]["podTemplate"]["env"].append(secret)
    done = command("run", "-f", "-", "--local", stdin=json.dumps(data), HF_TOKEN="")
    assert done.returncode == 0, done.stderr
    environ = {key: value for key, value in os.environ.items() if key != "HF_TOKEN"}
    missing = subprocess.run(
        [sys.executable, "-m", "mmrlhfctl", "run", "-f", "-", "--local"],
        env=environ,
        input=json.dumps(data),
        capture_output=True,
        text=True,
        check=False,
    )
    assert missing.returncode == 2
    assert "HF_TOKEN would come from a Secret" in missing.stderr


def test_a_state_folder_that_cannot_be_written_is_named(command: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    arguments = ["--state-dir", str(tmp_path / "file")]
    done = command("run", "-f", "-", "--local", *arguments, stdin=stub_job_text(tmp_path))
    assert done.returncode == 1
    assert "Not a directory; choose another --state-dir" in done.stderr


def test_a_sweep_runs_its_points_and_shows_them(command: Command, tmp_path: Path) -> None:
    job = json.loads(stub_job_text(tmp_path, mode="alone", data__evaluation={"uri": "e.jsonl"}))
    sweep = {
        "apiVersion": job["apiVersion"],
        "kind": "Sweep",
        "metadata": {"name": "tune"},
        "spec": {
            "template": {"kind": job["kind"], "spec": job["spec"]},
            "points": [{"values": [{"field": "training.epochs", "value": 2}]}],
            "objective": {"metric": "afterPreferenceAccuracy"},
        },
    }
    done = command("run", "-f", "-", "--local", stdin=json.dumps(sweep))
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[0] == "Sweep default/tune: Failed"
    assert lines[-1].split()[:2] == ["00", "Succeeded"]
    assert "point 00, 1 of 1: training.epochs=2" in done.stderr
    assert "step 10/10" in done.stderr
    assert "left no figure afterPreferenceAccuracy; it left: fresh, sum, threads" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: no point of the sweep has a figure")
    folder = tmp_path / "state" / "mmrlhf" / "sweeps" / "default-tune"
    assert sorted(one.name for one in folder.iterdir()) == ["sweep.html", "sweep.json"]
    told = command("report", str(folder / "sweep.json"), "--print")
    assert told.stdout.splitlines()[0] == lines[0]
    refused = command("run", "-f", "-", stdin=json.dumps(sweep))
    assert (refused.returncode, "add --local" in refused.stderr) == (2, True)
