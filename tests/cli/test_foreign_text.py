"""Names and messages of others, as commands show them: nothing steers the terminal."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml
from rich.console import Console

from mmrlhf.client.views import JobView
from mmrlhf.local.events import Notice, Phase
from mmrlhf_api.plain_text import make_safe
from mmrlhf_jobs.data.pairs import Pair
from mmrlhf_jobs.evaluation.rewardbench import BenchQuery, measure
from mmrlhf_jobs.evaluation.rewardbench.page import render_page
from mmrlhf_jobs.evaluation.rewardbench.table import make_table, notes
from mmrlhf_jobs.reporting.log import LogProgress
from mmrlhfctl import terminal
from mmrlhfctl.local.display import BarDisplay, PlainDisplay
from mmrlhfctl.text.endings import success_lines
from mmrlhfctl.text.job import description, summary
from mmrlhfctl.text.output import as_json, as_yaml
from mmrlhfctl.text.table import Cell, Style, Table

EVIL = [
    "\x1b]0;OWNED\x07",
    "\x1b[2J",
    "\x9b8m",
    "\u202eabc",
    "\ud800",
    "a\nfake:  line",
    "\x7f",
    "\r",
]
NOW = datetime(2026, 1, 2, tzinfo=UTC)


def job(evil: str, **status: Any) -> JobView:
    condition = {
        "type": "Failed",
        "status": "True",
        "reason": evil,
        "message": evil,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    return JobView.read(
        {
            "kind": "MMDPOJob",
            "metadata": {"name": "x", "namespace": "t", "uid": "u", "labels": {"a": evil}},
            "spec": {"nodePool": evil, "model": {"uri": evil}},
            "status": {
                "phase": "Failed",
                "reason": evil,
                "message": evil,
                "progress": {"step": 1, "stage": evil},
                "conditions": [condition, {"reason": "of another version"}],
                "metrics": {evil: 1.0},
                "artifacts": {"uri": evil},
                **status,
            },
        }
    )


@pytest.mark.parametrize("evil", EVIL)
def test_a_job_in_words_steers_nothing(evil: str) -> None:
    for colours in (False, True):
        for lines in (
            summary(job(evil), NOW, colours=colours),
            description(job(evil), [], [], NOW, colours=colours),
            success_lines(job(evil)),
        ):
            text = "\n".join(lines)
            for style in [*(one.value for one in Style), "\x1b[0m"]:
                text = text.replace(style, "") if colours and style else text
            assert make_safe(text, lines=True) == text
            assert not [line for line in text.split("\n") if line.startswith("fake:")]


@pytest.mark.parametrize("evil", EVIL)
def test_cells_steer_nothing_and_columns_stay(evil: str) -> None:
    lines = Table(["A", "B"]).lines([[Cell(evil), "b"]])
    assert len(lines) == 2
    assert lines[1].index("b", len(make_safe(evil))) == lines[0].index("B")


@pytest.mark.parametrize("evil", EVIL)
def test_the_streams_let_nothing_through(evil: str, capsys: pytest.CaptureFixture[str]) -> None:
    terminal.out(f"out {evil}")
    terminal.note(f"note {evil}")
    terminal.error(f"error {evil}")
    text = "".join(capsys.readouterr())
    assert make_safe(text, lines=True) == text
    terminal.out("\x1b[31mred\x1b[0m")
    assert capsys.readouterr().out == "\\x1b[31mred\\x1b[0m\n"  # no colours where none are wanted
    terminal.out("plain \u4f60 \u00e9")
    assert capsys.readouterr().out == "plain \u4f60 \u00e9\n"


@pytest.mark.parametrize("evil", [evil for evil in EVIL if evil != "\ud800"])
def test_objects_are_the_same_and_steer_nothing(evil: str) -> None:
    body = job(evil).body
    for text, read in (
        (as_json([body], single=True), json.loads),
        (as_yaml([body], single=True), yaml.safe_load),
    ):
        assert make_safe(text, lines=True) == text
        assert read(text)["status"] == body["status"]


@pytest.mark.parametrize("evil", [*EVIL, "[red]x", "[/b]", "[link=http://evil]click[/link]"])
def test_progress_and_logs_steer_nothing(evil: str) -> None:
    plain, bar, log = io.StringIO(), io.StringIO(), io.StringIO()
    for display in (PlainDisplay(plain), BarDisplay(bar)):
        display.show(Phase(evil, evil))
        display.show(Notice(evil))
    LogProgress(log).emit("notice", message=evil)
    for stream in (plain, bar, log):
        text = stream.getvalue()
        assert make_safe(text, lines=True) == text
    assert log.getvalue() == f"note: {make_safe(evil)}\n"


@pytest.mark.parametrize(
    "evil", [*EVIL, "[red]x", "[/b]", "[link=http://evil]click[/link]", "m[/x]"]
)
def test_a_report_shows_names_as_they_are(evil: str) -> None:
    report = measure([BenchQuery("q", evil, (Pair(0, 1),), (1.0, 1.0))])
    reports = {evil: report, "b": report}
    console = Console(width=200, file=io.StringIO(), color_system=None)
    with console.capture() as capture:
        console.print(make_table(reports))
    text = capture.get()
    assert make_safe(text, lines=True) == text
    assert text.count(make_safe(evil)) == 4
    page = render_page(reports)
    assert make_safe(page, lines=True) == page
    assert all(make_safe(line) == line for line in notes(reports))
