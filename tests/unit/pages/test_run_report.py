"""The report of a run: what it has is there, what it has not is not, and texts are only text."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from mmrlhf_jobs.pages.record import RunRecord, final_figures, parse_rows, plain
from mmrlhf_jobs.pages.rendering import MAX_BYTES
from mmrlhf_jobs.pages.run_report import Sample, number, render_failure, render_report
from tests.unit.pages.runs import MANIFEST, rows, run

PICTURE = "data:image/jpeg;base64,AAAA"
HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "'\"><svg/onload=alert(1)>",
    "</title></style><script>alert(1)</script>",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:alert(1)",
    "\u202egnp.exe\u2066",
    "\x1b[2J\x00",
)


class Tags(HTMLParser):
    """Elements and attributes of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: dict[str, int] = {}
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] = self.tags.get(tag, 0) + 1
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def sample(text: str = "what is it?") -> Sample:
    return Sample(text, [PICTURE], f"before {text}", f"after {text}")


def headings(page: str) -> list[str]:
    return re.findall(r"<(?:h2|figcaption)>([^<\n]+)", page)


def test_a_run_that_has_everything() -> None:
    page = render_report(run(), samples=[sample()], sample_tokens=64)
    assert headings(page) == [
        "Training",
        "Loss",
        "Margin",
        "Accuracy",
        "Beta",
        "Learning rate",
        "Tokens a second",
        "Peak memory of rank 0, GiB",
        "Held-out reward margin",
        "Beta of all pairs",
        "Held-out data",
        "Answers before and after",
        "Rows of largest loss",
        "Where reward model and people disagree most",
    ], "a gradient norm that never was a number is left out"
    for text in ("team/align", "40 steps on 320 rows", "after 64 tokens", "25.0% of 8 pairs"):
        assert text in page
    assert re.search(r"preference accuracy</td><td>0.5</td><td>0.75<", page)
    assert re.search(r"row 9</td><td>31</td><td>3.25<", page)
    assert re.search(r"row 3</td><td class=\"name\">a</td><td class=\"name\">c</td><td>.2.5<", page)


def test_what_a_run_has_not_is_left_out() -> None:
    bare = {
        **MANIFEST,
        "metrics": {},
        "rewards": None,
        "largestLosses": [],
        "attempts": [],
    }
    page = render_report(RunRecord(bare, []))
    assert headings(page) == []
    only = RunRecord(bare, [{"step": 1, "loss": 0.5}])
    assert headings(render_report(only)) == ["Training", "Loss"]


def test_a_reward_model_shows_held_out_pairs_that_it_has_wrong() -> None:
    wrong = [{"name": "q", "chosen": "response 1", "rejected": "response 2", "margin": -1.0}]
    found = run(rewards=None, evaluation={"after": {"wrong": wrong}})
    page = render_report(found)
    assert "Held-out pairs, scored by the trained model." in page
    assert "response 2" in page


def test_betas_of_other_strategies() -> None:
    job = {**MANIFEST["job"], "spec": {**MANIFEST["job"]["spec"]}}
    job["spec"]["objective"] = {"beta": {"strategy": "implicit"}}
    steps = [{"step": step, "beta": 0.1 + step / 1000} for step in range(1, 31)]
    page = render_report(RunRecord({**MANIFEST, "job": job, "rewards": None}, steps))
    assert "Mean beta of the steps" in page
    counts = [int(one) for one in re.findall(r"<title>(\d+) from", page)]
    assert (len(counts), sum(counts)) == (10, 30)
    job["spec"]["objective"] = {"beta": {"strategy": "fixed"}}
    page = render_report(RunRecord({**MANIFEST, "job": job, "rewards": None}, steps))
    assert "Beta of all pairs" not in page


@pytest.mark.parametrize("text", HOSTILE)
def test_texts_of_strangers_are_text_and_nothing_else(text: str) -> None:
    def poison(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: poison(one) for key, one in value.items()}
        if isinstance(value, list):
            return [poison(one) for one in value]
        return text if isinstance(value, str) and value != "dynamic" else value

    hostile = RunRecord(poison(MANIFEST), [{**row, f"heldOut{text}": 0.5} for row in rows()])
    page = render_report(hostile, samples=[Sample(text, [text], text, text)], sample_tokens=4)
    plain_page = render_report(
        RunRecord(MANIFEST, [{**row, "heldOutA": 0.5} for row in rows()]),
        samples=[sample()],
        sample_tokens=4,
    )
    found, expected = Tags(page), Tags(plain_page)
    assert found.tags == expected.tags, "no element comes of it"
    assert found.attributes == expected.attributes, "and no attribute"
    assert "49" not in found.text.split("after")[0]
    assert not set(page) & {"\u202e", "\u2066", "\x1b", "\x00"}


def test_the_page_needs_nothing_and_lets_nothing_run() -> None:
    page = render_report(run(), samples=[sample()], sample_tokens=4)
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in page
    assert not re.search(r"https?://|<script|<link|@import|url\(", page)
    assert {"script", "iframe", "object", "form"}.isdisjoint(Tags(page).tags)


def test_equal_inputs_give_equal_bytes() -> None:
    pages = {render_report(run(), samples=[sample()], sample_tokens=4).encode() for _ in range(3)}
    assert len(pages) == 1


def test_the_size_is_bounded() -> None:
    long = sample("x" * 100_000)
    page = render_report(run(), samples=[long] * 16, sample_tokens=4)
    assert len(page) < 200_000
    assert "(100,000 characters)" in page
    large = Sample("what?", ["data:image/jpeg;base64," + "A" * MAX_BYTES], "a", "b")
    page = render_report(run(), samples=[large], sample_tokens=4)
    assert len(page.encode()) < MAX_BYTES
    assert "<img" not in page, "pictures go first"
    assert "what?" in page
    many = [{"row": f"row {n}", "loss": 1.0, "step": n, "epoch": 0} for n in range(5000)]
    assert len(render_report(run(largestLosses=many))) < 100_000
    long_run = RunRecord(MANIFEST, rows(10_000))
    assert len(render_report(long_run)) < 200_000


def test_a_report_that_failed_says_so() -> None:
    page = render_failure(run(), "KeyError: <b>")
    assert "could not be drawn: KeyError: &lt;b&gt;" in page
    assert headings(page) == []


def test_figures_of_a_run() -> None:
    found = final_figures(run())
    assert found["loss"] == pytest.approx(sum(1 / step for step in range(37, 41)) / 4)
    assert found["margin"] == pytest.approx(3.85)
    assert found["tokensPerSecond"] == 1020.5
    assert found["trainingSeconds"] == 80.0
    assert found["afterPreferenceAccuracy"] == 0.75
    assert final_figures(RunRecord({**MANIFEST, "metrics": {}}, [])) == {}


def test_numbers_and_names_as_people_read_them() -> None:
    assert [number(one) for one in (None, 1e-6, -0.25, 1234567.8, 3.0)] == [
        "-",
        "1e-06",
        "\N{MINUS SIGN}0.25",
        "1,234,568",
        "3",
    ]
    assert plain("peakMemoryGiB") == "peak memory GiB"
    assert plain("afterPreferenceAccuracy") == "after preference accuracy"


@pytest.mark.parametrize("text", ["[1]", '{"step": 1', "7"])
def test_a_damaged_record_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"line|delimiter|Expecting"):
        parse_rows(text)
