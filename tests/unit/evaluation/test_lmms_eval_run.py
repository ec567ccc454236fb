"""A run of lmms-eval by a stand-in: what becomes of its ends, its log and what it has started."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from mmrlhf_jobs.errors import RunError
from mmrlhf_jobs.evaluation.understanding.running import environment_of, run_lmms_eval


def run(folder: Path, script: str) -> tuple[Path, list[str]]:
    output = folder / "out"
    (output / "policy").mkdir(parents=True)
    log: list[str] = []
    done = run_lmms_eval([sys.executable, "-S", "-c", script, str(output)], output, log=log.append)
    return done, log


WRITES = "import sys\nopen(sys.argv[1] + '/policy/20261129_results.json', 'w').write('{}')\n"


def test_results_are_found_and_all_that_is_said_is_in_the_log(tmp_path: Path) -> None:
    found, log = run(tmp_path, WRITES + "print('one'); print('two', file=sys.stderr)")
    assert found == tmp_path / "out/policy/20261129_results.json"
    assert sorted(log) == ["one\n", "two\n"]


@pytest.mark.parametrize(
    ("script", "message"),
    [
        # It says what was wrong, and ends with 0.
        ("print('\\x1b[31mError during evaluation: no such task\\x1b[0m')",
         "exit code 0, 0 files of results; the end of what it said:\nError during evaluation: no"),
        (WRITES + "sys.exit(3)", "exit code 3, 1 files of results"),
        (WRITES + WRITES.replace("20261129", "1"), "exit code 0, 2 files of results"),
        (WRITES + "print('ERROR | Error out of memory in generating')\n" * 2,
         "has lost 2 answers, which it counts as empty ones; the first: ERROR | Error out of mem"),
        (WRITES + "print('Error no frames when loading video : a.mp4')", "has lost 1 answers"),
    ],
)  # fmt: skip
def test_what_is_no_measurement_is_refused(script: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(RunError) as error:
        run(tmp_path, script)
    assert message in str(error.value)


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="/nowhere: lmms-eval cannot be started: No such file"):
        run_lmms_eval(["/nowhere"], tmp_path, log=print)


def test_who_is_stopped_stops_all_that_it_has_started(tmp_path: Path) -> None:
    script = """
import os, time
os.write(1, b"child\\n" if os.fork() == 0 else b"parent\\n")
time.sleep(3600)
"""
    alive = f"{tmp_path}/alive"
    os.mkfifo(alive)
    script = f"held = open({alive!r}, 'w')" + script  # both hold it
    log: list[str] = []

    def heard(line: str) -> None:
        log.append(line)
        if len(log) == 2:
            raise KeyboardInterrupt

    reader = os.open(alive, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with pytest.raises(KeyboardInterrupt):
            run_lmms_eval([sys.executable, "-S", "-c", script], tmp_path, log=heard)
        os.set_blocking(reader, True)
        assert os.read(reader, 1) == b"", "it ends when nobody holds it any more"
    finally:
        os.close(reader)
    assert sorted(log) == ["child\n", "parent\n"]


def test_it_is_no_member_of_the_gang_that_starts_it() -> None:
    ours = dict.fromkeys(
        ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "PET_NNODES", "TORCHELASTIC_RUN_ID",
         "GROUP_WORLD_SIZE", "ROLE_NAME"),
        "1",
    )  # fmt: skip
    kept = {"HF_HOME": "/hub", "LOCAL_CACHE": "/c", "PATH": "/bin", "FRANK": "1"}
    assert environment_of({**ours, **kept}) == kept
