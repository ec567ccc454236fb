"""Finished runs from the command line: where a report is, in words, and several side by side."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from mmrlhf_jobs.pages.run_report import render_report
from tests.unit.pages.runs import MANIFEST, rows, run

Command = Callable[..., subprocess.CompletedProcess[str]]


def leave(folder: Path, *, report: bool = True, scale: float = 1.0) -> Path:
    """A finished run in a folder."""
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps(MANIFEST))
    lines = "".join(json.dumps(row) + "\n" for row in rows(scale=scale))
    (folder / "metrics.jsonl").write_text(lines)
    if report:
        (folder / "report.html").write_text(render_report(run()))
    return folder


def test_a_report_is_named_copied_and_told(command: Command, tmp_path: Path) -> None:
    folder = leave(tmp_path / "out/team/align/uid")
    for word in (str(folder), "./out", f"file://{folder}"):
        done = command("report", word)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.strip().endswith("out/team/align/uid/report.html")
    done = command("report", "out", "-o", "copy.html")
    assert done.stdout.strip() == "copy.html"
    assert (tmp_path / "copy.html").read_bytes() == (folder / "report.html").read_bytes()
    done = command("report", "out", "--print")
    assert "MMDPOJob team/align: 40 steps on 320 rows" in done.stdout
    table = [line.split() for line in done.stdout.splitlines()]
    assert ["preference", "accuracy", "0.5", "0.75"] in table
    assert ["loss", "0.026"] in table


def test_a_browser_opens_it(command: Command, tmp_path: Path) -> None:
    folder = leave(tmp_path / "run")
    seen = tmp_path / "seen"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > {seen}\n')
    browser.chmod(0o755)
    done = command("report", "run", "--open", BROWSER=f"{browser} %s")
    assert done.returncode == 0, done.stderr
    assert seen.read_text() == (folder / "report.html").as_uri()


def test_runs_are_compared(command: Command, tmp_path: Path) -> None:
    leave(tmp_path / "one")
    leave(tmp_path / "two", scale=2.0)
    done = command("compare", "./one", "./two", "-o", "both.html")
    assert done.returncode == 0, done.stderr
    head, *lines = done.stdout.splitlines()
    assert head.split() == ["FIGURE", "team/align", "team/align", "(./two)"]
    assert ["loss", "0.026", "0.05199"] in [line.split() for line in lines]
    assert done.stderr == "wrote both.html\n"
    page = (tmp_path / "both.html").read_text()
    assert page.count('<path class="s1"') == page.count('<path class="s0"') == 7


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (("report", "./nowhere"), "./nowhere holds no finished run: there is no manifest.json", 3),
        (("report", "."), ". holds 2 runs; name one: one, two", 3),
        (("report", "two"), "two has no report.html: only trainings have", 3),
        (("report", "one", "-o", "no/such/file"), "no/such/file: cannot be written", 1),
        (("compare", "one"), "name two runs or more", 2),
        (("compare", "one", "./nowhere"), "./nowhere holds no finished run", 3),
        (("report", "damaged/deep", "--print"), "manifest.json is damaged", 1),
    ],
)
def test_what_is_wrong_is_one_line(
    command: Command, tmp_path: Path, arguments: tuple[str, ...], message: str, code: int
) -> None:
    leave(tmp_path / "one")
    leave(tmp_path / "two", report=False)
    leave(tmp_path / "damaged/deep/a/b")
    (tmp_path / "damaged/deep/a/b/manifest.json").write_text("[")
    done = command(*arguments)
    assert message in done.stderr
    assert (done.returncode, done.stderr.count("\n")) == (code, 1), done.stderr
