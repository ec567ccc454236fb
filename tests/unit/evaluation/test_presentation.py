"""The report as table, page and files."""

from __future__ import annotations

import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from mmrlhf_jobs.data.pairs import Pair
from mmrlhf_jobs.data.writers import write_records
from mmrlhf_jobs.evaluation.rewardbench import BenchQuery, RewardBenchReport, measure
from mmrlhf_jobs.evaluation.rewardbench.__main__ import main
from mmrlhf_jobs.evaluation.rewardbench.page import render_page
from mmrlhf_jobs.evaluation.rewardbench.plots import plot_margins
from mmrlhf_jobs.evaluation.rewardbench.table import make_table, notes
from mmrlhf_jobs.scores.keys import SidecarIdentity, record_keys
from mmrlhf_jobs.scores.writer import SidecarWriter
from tests.unit.data.builders import make_record


def report(*scores: tuple[float | None, float], name: str = "q") -> RewardBenchReport:
    return measure(
        BenchQuery(f"{name}{number}", "mcq" if number % 2 else "long", (Pair(0, 1),), pair)
        for number, pair in enumerate(scores)
    )


def shown(reports: dict[str, RewardBenchReport]) -> str:
    console = Console(width=120, file=io.StringIO())
    with console.capture() as capture:
        console.print(make_table(reports))
    return capture.get()


def test_the_table_has_a_row_a_category_and_one_for_all() -> None:
    text = shown({"m": report((1, 0), (0, 1), (1, 0), (1, 0))})
    rows = [re.split(r"\s*│\s*", line.strip("│ ")) for line in text.splitlines() if "│" in line]
    assert rows == [
        ["mcq", "0.500", "0.09 - 0.91", "2", "0.500", "0.09 - 0.91", "2"],
        ["long", "1.000", "0.34 - 1.00", "2", "1.000", "0.34 - 1.00", "2"],
        ["overall", "0.750", "0.30 - 0.95", "4", "0.750", "0.30 - 0.95", "4"],
    ]


def test_a_table_of_several_models_names_them() -> None:
    text = shown({"before": report((1, 0)), "after": report((0, 1))})
    assert "before" in text
    assert "after" in text


def test_what_is_not_counted_is_noted() -> None:
    found = notes({"m": measure([
        BenchQuery("a", "mcq", (Pair(0, 1), Pair(0, 2)), (None, 0.0, 1.0)),
        BenchQuery("b", "mcq", (Pair(0, 1),), (1.0, 1.0)),
        BenchQuery("c", "mcq", (), (1.0, 2.0)),
    ])})  # fmt: skip
    assert found == [
        "m: 1 pairs are ties of the model and count as wrong",
        "m: 2 pairs of 1 queries lack a score and are not counted",
        "m: 1 queries have no ranking by people and are not counted",
    ]
    assert notes({"m": report((1, 0))}) == []


class _Page(HTMLParser):
    """Notes every tag, and that they nest."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in {"meta", "br"}:
            self.open.append(tag)
        self.links += [value or "" for name, value in attrs if name in {"src", "href"}]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_asks_for_nothing_else() -> None:
    reports = {"a<b>": report((1, 0), (0, 1), name="<script>"), "c": report((1, 1))}
    page = render_page(reports, title="A & B")
    parser = _Page()
    parser.feed(page)
    assert parser.open == []
    assert parser.links == []
    assert "url(" not in page
    assert "@import" not in page
    assert "<script" not in page
    assert "A &amp; B" in page


def test_plots_are_drawn_to_scale() -> None:
    page = render_page({"m": report((1, 0), (0, 1), (1, 0), (1, 0))})
    rates = ET.fromstring(re.findall(r"<svg.*?</svg>", page, re.DOTALL)[0])
    dots = [float(dot.get("cx", "nan")) for dot in rates.iter("circle")]
    # Two panels of the rows overall, mcq, long.
    assert [round((x - 88) / 290, 2) for x in dots[:3]] == [0.75, 0.5, 1.0]
    assert [round((x - 88 - 350) / 290, 2) for x in dots[3:]] == [0.75, 0.5, 1.0]


def test_a_tie_is_drawn_on_the_wrong_side() -> None:
    svg = ET.fromstring(plot_margins(report((2, 0), (1, 1), (0, 2), (0.01, 0))))
    bars = [(bar.get("class"), int((bar[0].text or "").split()[0])) for bar in svg.iter("rect")]
    assert [side for side, _ in bars] == ["wrong"] * 12 + ["right"] * 12
    counts = [count for _, count in bars]
    assert (counts[0], counts[11], counts[12], counts[23]) == (1, 1, 1, 1)
    assert sum(counts) == 4


def test_a_page_of_nothing_can_be_drawn() -> None:
    page = render_page({"m": measure([])})
    assert "No pair was judged" in page


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    records = [make_record(f"r{n}", (1, 2), query={"text": f"Digit {n}?"}) for n in range(4)]
    write_records(records, str(tmp_path / "bench.jsonl"))
    for name, right in (("good", 4), ("poor", 1)):
        uri = str(tmp_path / f"{name}.parquet")
        with SidecarWriter(uri, SidecarIdentity(kind="reward")) as writer:
            for number, record in enumerate(records):
                writer.write(
                    record_keys(record),
                    [1.0, 0.0] if number < right else [0.0, 1.0],
                    record_id=record.record_id,
                    response_ids=[one.response_id for one in record.responses],
                )
    return tmp_path


def test_the_command_compares_models_by_their_side_cars(
    bench: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main([
        str(bench / "bench.jsonl"),
        "--scores", str(bench / "good.parquet"),
        "--scores", f"other={bench / 'poor.parquet'}",
        "--json", str(bench / "out/report.json"),
        "--html", str(bench / "out/report.html"),
    ])  # fmt: skip
    assert code == 0
    figures = json.loads((bench / "out/report.json").read_text())
    assert {name: figures[name]["overall"]["acc"]["value"] for name in figures} == {
        "good": 1.0,
        "other": 0.25,
    }
    assert "0.250" in capsys.readouterr().out
    assert (bench / "out/report.html").read_text().startswith("<!doctype html>")


def test_the_command_tells_what_is_wrong(bench: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = str(bench / "bench.jsonl")
    scores = str(bench / "good.parquet")
    assert main([records, "--scores", scores, "--scores", scores]) == 2
    assert "two models are called 'good'" in capsys.readouterr().err
    assert main([str(bench / "none.jsonl"), "--scores", scores]) == 2
    assert "no such file" in capsys.readouterr().err
    write_records([make_record("new", query={"text": "Another?"})], str(bench / "new.jsonl"))
    assert main([str(bench / "new.jsonl"), "--scores", scores]) == 2
    told = capsys.readouterr().err
    assert "1 of 1 rows are invalid" in told
    assert "good.parquet has no score for record 'new', response 'a'" in told


def test_rows_at_fault_are_left_out_for_all_models_within_their_budget(
    bench: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = bench / "bench.jsonl"
    first = json.loads(path.read_text().splitlines()[0])
    unscored = make_record("new", query={"text": "Another?"})
    write_records([unscored], str(bench / "new.jsonl"))
    odd = [b"{", json.dumps(first).encode(), (bench / "new.jsonl").read_bytes().strip()]
    path.write_bytes(b"\n".join([*odd[:1], path.read_bytes().strip(), b"", *odd[1:]]) + b"\n")
    asked = [
        str(path),
        "--scores", str(bench / "good.parquet"),
        "--scores", str(bench / "poor.parquet"),
        "--json", str(bench / "report.json"),
    ]  # fmt: skip
    assert main([*asked, "--max-invalid-fraction", "0.3"]) == 2
    told = capsys.readouterr().err
    assert "3 of 7 rows are invalid, and maxInvalidFraction 0.3 allows 2" in told
    for row in (1, 7, 8):
        assert f"bench.jsonl, row {row}" in told
    assert not (bench / "report.json").exists()
    assert main([*asked, "--max-invalid-fraction", "0.5"]) == 0
    assert "3 of 7 rows are invalid and left out" in capsys.readouterr().out
    for figures in json.loads((bench / "report.json").read_text()).values():
        overall = figures["overall"]
        used = overall["accPlus"]["n"] + overall["failedQueries"] + overall["unrankable"]
        assert figures["invalid"] == {"schema": 1, "repeated-id": 1, "no-score": 1}
        assert figures["rows"] == used + sum(figures["invalid"].values()) == 7
