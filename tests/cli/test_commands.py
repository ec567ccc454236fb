"""Commands that run nothing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from mmrlhf_api import KINDS
from mmrlhfctl.app import app
from tests.unit.api.specimens import changed

Command = Callable[..., subprocess.CompletedProcess[str]]

HEAVY = {
    *("annotated_types", "fsspec", "jinja2", "kubernetes", "oauthlib", "pydantic", "pydantic_core"),
    *("requests", "requests_oauthlib", "rich", "torch", "torchx", "transformers", "urllib3"),
    "websocket",
}
"""What takes long to load, and no call loads that validates no job file and draws no page."""
TYPES = {"mmrlhf_api.base", "mmrlhf_api.job", "mmrlhf_api.jobfile", "mmrlhf_api.kinds.types"}
REMOTE = {"http", "yaml"}
"""What a call needs that speaks to a cluster."""
API = {"mmrlhf_api.kinds"}
CHECKS = {"annotated_types", "pydantic", "pydantic_core"}
"""What a call needs that looks into the spec of a job as its type has it."""
CALLS: dict[tuple[str, ...], set[str]] = {
    ("--version",): set(),
    ("version",): set(),
    ("help",): set(),
    ("--help",): set(),
    ("help", "wait"): set(),
    ("run", "--help"): set(),
    ("completion", "bash"): set(),
    ("get",): API | REMOTE,
    ("get", "mmdpo", "-o", "wide", "-l", "a=b"): API | REMOTE,
    ("status", "digits"): API | REMOTE,
    ("logs", "--tail", "3", "--since=5m", "digits"): API | REMOTE,
    ("why", "digits"): API | REMOTE,
    ("describe", "digits"): API | REMOTE,
    ("events",): API | REMOTE,
    ("top",): API | REMOTE,
    ("wait", "--for=delete", "--timeout=3s", "digits"): API | REMOTE,
    ("suspend", "digits"): API | REMOTE,
    ("cancel", "--all"): API | REMOTE,
    ("delete", "--no-wait", "digits"): API | REMOTE,
    ("retry", "ar/digits"): API | REMOTE,
    ("cron", "list"): API | REMOTE,
    ("doctor",): API | REMOTE,
    ("lineage", "--depth", "3", "digits"): API | REMOTE,
    ("clone", "digits"): API | REMOTE,
    ("diff", "digits", "letters"): API | REMOTE | CHECKS,
    ("cost", "digits"): API | REMOTE | CHECKS,
}
"""Calls, each with what it may load of `API`, `REMOTE` and `CHECKS`."""
LOADED = """
import json, os, sys
import mmrlhfctl.calls
from mmrlhfctl.__main__ import main
for call in json.loads(sys.argv[1]):
    answer, tell = os.pipe()
    if (child := os.fork()) == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(1, 2)
        try:
            code = main(call)
        finally:
            os.write(tell, json.dumps([code, *sys.modules]).encode())
            os._exit(0)
    os.close(tell)
    with open(answer) as said:
        print(said.read())
    os.waitpid(child, 0)
"""
"""Each call in a process of its own that has loaded the entry point alone."""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, ...], list[Any]]:
    """The exit code of each call, and all modules that it has loaded."""
    folder = tmp_path_factory.mktemp("loaded")
    config = {
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "c", "user": {"token": "t"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
        "current-context": "c",
    }
    (folder / "config").write_text(json.dumps(config))
    done = subprocess.run(
        [sys.executable, "-c", LOADED, json.dumps(list(CALLS))],
        env={**os.environ, "KUBECONFIG": str(folder / "config")},
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(zip(CALLS, map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.parametrize("call", CALLS, ids=" ".join)
def test_a_call_loads_nothing_that_it_does_not_need(
    call: tuple[str, ...], loaded: dict[tuple[str, ...], list[Any]]
) -> None:
    code, *modules = loaded[call]
    allowed = CALLS[call]
    assert code == (5 if allowed >= REMOTE else 0)  # it got as far as to the server
    packages = {name.partition(".")[0] for name in modules} | API & set(modules)
    assert not packages & (HEAVY | API | REMOTE) - allowed
    assert allowed >= CHECKS or not TYPES & set(modules)
    if allowed >= REMOTE:
        assert packages >= allowed
    own = [name for name in modules if name.startswith("mmrlhfctl.commands.")]
    assert len(own) <= (4 if call not in {("help",), ("--help",)} else 99), own


def test_help_lists_the_commands(command: Command) -> None:
    done = command("--help")
    assert done.returncode == 0
    for name in (
        *("run", "submit", "get", "status", "why", "logs", "describe", "events", "wait", "suspend"),
        *("resume", "cancel", "retry", "delete", "doctor", "validate", "estimate", "explain"),
        *("version", "completion", "report", "compare", "lineage", "diff", "clone", "top", "cost"),
        *("import", "export", "gate", "promote", "rollback", "alias", "prune", "help"),
    ):
        assert f"\n  {name} " in done.stdout
    assert "..." not in done.stdout.split("Commands:")[1]  # no summary is cut off


def test_help_has_no_words_of_python() -> None:
    """All commands in one process: what they show is made of their declarations alone."""
    root = typer.main.get_command(app)
    commands = root.commands  # type: ignore[attr-defined]
    assert "submit" in commands
    below = commands["cron"].commands
    for name, command in [*commands.items(), *below.items()]:
        text = command.get_help(typer.Context(command, info_name=name))
        assert not re.search(r"<(?!\()\w+( range)?>|list\[|None|x>=|(?<!=)\{\w", text), text
        assert max(map(len, text.splitlines())) <= 80
        usage = text.split("\n\n", 1)[0].partition("[OPTIONS]")[2]
        assert "...." not in usage
        assert usage == usage.upper()


def test_help_of_a_command_is_had_by_two_ways(command: Command) -> None:
    assert command("help", "wait").stdout.strip() == command("wait", "--help").stdout.strip()
    assert command("help").stdout.strip() == command("--help").stdout.strip()


def test_the_version_in_one_line(command: Command) -> None:
    done = command("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"mmrlhfctl \d+\.\d+\.\S+\n", done.stdout)


@pytest.mark.parametrize(
    "arguments",
    [
        *(["frobnicate"], ["run"], ["run", "-f"], ["version", "-o", "xml"], []),
        *(["completion", "ksh"], ["import", "tlr", "a", "b"], ["export", "safety-bench", "a", "b"]),
    ],
)
def test_wrong_usage_exits_2_on_standard_error(command: Command, arguments: list[str]) -> None:
    done = command(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert not re.search("python|Value error", done.stderr)
    assert done.stderr
    assert not done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_a_valid_file_is_said_to_be_valid(command: Command, kind: str) -> None:
    done = command("validate", "-", stdin=json.dumps(changed(kind)))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{kind} default/demo: valid\n"


def test_a_file_to_check_is_named_as_elsewhere_too(command: Command) -> None:
    text = json.dumps(changed())
    assert command("validate", "-f", "-", stdin=text).stdout == "MMDPOJob default/demo: valid\n"
    for arguments in ([], ["-", "-f", "-"]):
        done = command("validate", *arguments, stdin=text)
        assert (done.returncode, done.stdout) == (2, "")
        assert "name one job file" in done.stderr


def test_a_list_holds_jobs_as_kubectl_writes_them(command: Command) -> None:
    jobs = [changed(), changed("RewardTrainJob", training__epochs=0)]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": jobs}, indent=1)
    done = command("validate", "-", stdin=text)
    assert done.returncode == 2
    line = 1 + text[: text.index('"epochs": 0')].count("\n")
    assert done.stderr.startswith(f"error: <stdin>:{line}: spec.training.epochs: ")
    jobs[1] = changed("RewardTrainJob")
    jobs[1]["metadata"] = {"generateName": "judge-"}
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": jobs})
    done = command("validate", "-", stdin=text)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "MMDPOJob default/demo: valid\nRewardTrainJob default/judge: valid\n"


def test_every_problem_is_listed_on_standard_error(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(json.dumps(changed(training__epochs=0, objective__beta__w=-1), indent=2))
    done = command("validate", "job.yaml")
    assert (done.returncode, done.stdout) == (2, "")
    lines = done.stderr.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("error: job.yaml:") for line in lines)


def test_a_missing_file_is_an_input_error(command: Command) -> None:
    done = command("validate", "nowhere.yaml")
    assert done.returncode == 2
    assert done.stderr == "error: nowhere.yaml: cannot be read: No such file or directory\n"


def test_explain_describes_a_field(command: Command) -> None:
    done = command("explain", "mmdpo.spec.objective.beta")
    assert done.returncode == 0
    assert "KIND:     MMDPOJob" in done.stdout
    assert "w <number>  (>= 0, default 0.5)" in done.stdout
    assert "F.2" in done.stdout
    for name in ("mmdpojobs.mmrlhf.io", "MMDPOJob.v1alpha1.mmrlhf.io"):
        assert command("explain", f"{name}.spec.objective.beta").stdout == done.stdout
    deeper = command("explain", "csj.spec.sources.weight")
    assert "FIELD:    spec.sources.weight <number>  (> 0, default 1)" in deeper.stdout


@pytest.mark.parametrize(
    ("path", "kind", "field"),
    [
        ("ap.spec.steps", "AlignmentPipeline", "spec.steps <"),
        ("alignmentruns.mmrlhf.io", "AlignmentRun", "spec <object>"),
        ("Sweep.spec.objective.metric", "Sweep", "spec.objective.metric <string>"),
    ],
)
def test_explain_knows_all_that_is_no_job_too(
    command: Command, path: str, kind: str, field: str
) -> None:
    done = command("explain", path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"KIND:     {kind}\n")
    assert field in done.stdout


def test_explain_lists_a_tree(command: Command) -> None:
    done = command("explain", "-r", "RewardTrainJob.spec.objective")
    assert "  critique <string>  (enhanced | raw | none, default enhanced)" in done.stdout
    assert "paper" not in done.stdout.split("FIELDS:")[1]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("mmdop", "did you mean mmdpo?"),
        ("alignmentpipline", "did you mean AlignmentPipeline?"),
        ("thing", "StepJob, AlignmentPipeline, AlignmentRun, Sweep\n"),
        ("mmdpo.spec.objektive", "MMDPOJob.spec has no field objektive; did you mean objective?"),
        ("mmdpo.spec.model.uri.x", "MMDPOJob.spec.model.uri has no fields, so no x"),
    ],
)
def test_explain_suggests(command: Command, path: str, message: str) -> None:
    done = command("explain", path)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


def test_version_is_machine_readable(command: Command) -> None:
    versions = json.loads(command("version", "-o", "json").stdout)
    assert versions["api"] == "mmrlhf.io/v1alpha1"
    assert versions["mmrlhf"] in command("version").stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_name_the_program(command: Command, shell: str) -> None:
    done = command("completion", shell)
    assert done.returncode == 0
    assert "_MMRLHFCTL_COMPLETE" in done.stdout


def test_a_shell_gets_completions(command: Command) -> None:
    done = command(_MMRLHFCTL_COMPLETE="complete_bash", COMP_WORDS="mmrlhfctl val", COMP_CWORD="1")
    assert done.stdout.split() == ["validate"]


def test_completion_without_a_cluster_offers_kinds_and_is_quiet(command: Command) -> None:
    done = command(
        _MMRLHFCTL_COMPLETE="complete_bash",
        COMP_WORDS="mmrlhfctl logs r",
        COMP_CWORD="2",
        KUBECONFIG="/nowhere",
        KUBERNETES_SERVICE_HOST="",
    )
    assert (done.stdout.split(), done.stderr) == (["rtj"], "")


def test_a_bash_shell_completes(tmp_path: Path) -> None:
    """The printed script works in a real bash."""
    program = tmp_path / "mmrlhfctl"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mmrlhfctl "$@"\n')
    program.chmod(0o755)
    script = (
        f'PATH="{tmp_path}:$PATH"; source <(mmrlhfctl completion bash);'
        "COMP_WORDS=(mmrlhfctl expl); COMP_CWORD=1; _mmrlhfctl_completion mmrlhfctl;"
        'echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["explain"]


def test_a_reader_may_stop_reading(tmp_path: Path) -> None:
    script = f'set -o pipefail; "{sys.executable}" -m mmrlhfctl explain -r mmdpo | head -1'
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.stdout.startswith("KIND:")
    assert done.stderr == ""


@pytest.mark.parametrize("call", [["version"], ["explain", "-r", "mmdpo"]], ids=["little", "much"])
def test_nobody_need_read_anything(call: list[str]) -> None:
    """Little is written at the end alone, and much as soon as it is there."""
    with subprocess.Popen(
        [sys.executable, "-m", "mmrlhfctl", *call],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        assert running.stderr.read() == ""
    assert running.returncode == 0


@pytest.mark.parametrize("where", ["before", "after"])
def test_colours_can_be_chosen(command: Command, where: str) -> None:
    def told(choice: str) -> str:
        options = (f"--color={choice}",)
        arguments = (*options, "get") if where == "before" else ("get", *options)
        return command(*arguments, KUBECONFIG="/nowhere", KUBERNETES_SERVICE_HOST="").stderr

    assert told("always").startswith("\x1b[1;31merror:\x1b[0m no cluster is configured")
    assert told("never").startswith("error: no cluster is configured")
    assert told("auto") == told("never")  # this is no terminal
    assert "'pink' is not one of" in told("pink")
