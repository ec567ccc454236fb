"""Steps that are asked to stop: a real process of each, with a stub for the step itself."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

STUB = Path(__file__).parent / "stub_step"


class Call:
    """``mmrlhfctl import`` in the foreground of a terminal, at work.

    Attributes:
        pid: Its process.
        step: The process of its step.
        helper: One that the step has started.
    """

    def __init__(self, folder: Path, save_seconds: float, code: int) -> None:
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            os.environ |= {
                "NO_COLOR": "1",
                "PYTHONPATH": str(STUB),
                "STUB_SAVE_SECONDS": str(save_seconds),
                "STUB_CODE": str(code),
            }
            os.execv(
                sys.executable,
                [sys.executable, "-m", "mmrlhfctl", "import", "trl", "in.jsonl", "out.jsonl"],
            )
        self._said = ""
        *_, step, helper = self.read_until("at work: ").split()
        self.step, self.helper = int(step), int(helper)

    def type(self, character: bytes) -> None:
        """Press a key."""
        os.write(self._terminal, character)

    def read_until(self, text: str) -> str:
        """Return the line that begins so."""
        while True:
            for line in self._said.splitlines(keepends=True):
                if line.startswith(text) and line.endswith("\n"):
                    return line
            if not self._read():
                pytest.fail(f"it ended without {text!r}: {self._said}")

    def end(self) -> tuple[int, str]:
        """Return its exit code and what it said after it was at work."""
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        while select.select([self._terminal], [], [], 0)[0] and self._read():
            pass
        return code, self._said.split("\r\n", 1)[1].replace("\r\n", "\n")

    def close(self) -> None:
        """Leave nothing behind."""
        os.close(self._terminal)
        for pid in (self.pid, self.step, self.helper):
            if is_running(pid):
                os.kill(pid, signal.SIGKILL)

    def _read(self) -> bool:
        try:
            piece = os.read(self._terminal, 65536)
        except OSError:  # Linux says EIO when the other side is gone
            return False
        self._said += piece.decode()
        return bool(piece)


@contextmanager
def step_at_work(folder: Path, *, save_seconds: float = 1.0, code: int = 143) -> Iterator[Call]:
    call = Call(folder, save_seconds, code)
    try:
        yield call
    finally:
        call.close()


def is_running(pid: int) -> bool:
    """Whether a process is there and has not ended; its parent may not have looked yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


STOPPING = (
    "stopping: waiting for import to keep what is done and end; press Ctrl-C again to kill it\n"
)


def test_ctrl_c_lets_a_step_keep_what_is_done(tmp_path: Path) -> None:
    """The terminal tells all that run in its foreground; the step hears it once all the same."""
    with step_at_work(tmp_path) as call:
        call.type(b"\x03")
        assert call.end() == (130, f"^C{STOPPING}")
        assert not is_running(call.step)
    assert (tmp_path / "kept").read_text().startswith("import trl in.jsonl out.jsonl ")


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_lets_a_step_keep_what_is_done(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    with step_at_work(tmp_path) as call:
        os.kill(call.pid, number)
        assert call.end() == (code, STOPPING)
        assert not is_running(call.step)
    assert (tmp_path / "kept").exists()


@pytest.mark.parametrize("code", [0, 2])
def test_a_step_that_comes_to_its_end_when_asked_to_stop_has_its_own_exit_code(
    tmp_path: Path, code: int
) -> None:
    with step_at_work(tmp_path, code=code) as call:
        call.type(b"\x03")
        assert call.end()[0] == code


def test_a_second_ctrl_c_kills_a_step_with_all_that_it_has_started(tmp_path: Path) -> None:
    with step_at_work(tmp_path, save_seconds=600) as call:
        call.type(b"\x03")
        call.read_until("^Cstopping: ")
        call.type(b"\x03")
        assert call.end() == (130, f"^C{STOPPING}^C")
        assert not any(map(is_running, (call.step, call.helper)))
    assert not (tmp_path / "kept").exists()


def test_a_step_that_is_killed_is_said_to_be(tmp_path: Path) -> None:
    with step_at_work(tmp_path) as call:
        os.kill(call.step, signal.SIGKILL)
        told = "error: import was killed (SIGKILL); the machine may have run out of memory\n"
        assert call.end() == (137, told)


def test_a_step_goes_on_without_its_terminal_if_it_was_asked_to(tmp_path: Path) -> None:
    """As by nohup."""
    program = (
        "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN);"
        "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, "-m", "mmrlhfctl", "import", "trl", "a.jsonl", "b.jsonl"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(STUB), "STUB_SAVE_SECONDS": "0", "STUB_CODE": "143"},
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as call:
        assert call.stderr is not None
        call.stderr.readline()
        call.send_signal(signal.SIGHUP)
        call.send_signal(signal.SIGTERM)
        assert call.stderr.readline() == STOPPING
    assert call.returncode == 143


def test_a_job_file_that_is_not_there_is_told_before_torch_is_loaded() -> None:
    """Which takes seconds."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "mmrlhf_jobs", "estimate", "nowhere.yaml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.endswith("error: nowhere.yaml: cannot be read: No such file or directory\n")
    assert "mmrlhf_jobs.reporting" in done.stderr
    assert "torch" not in done.stderr
