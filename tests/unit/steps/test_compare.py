"""Comparison as a step: two files of responses, and a judge of pairs that is a real server."""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmrlhf_jobs.__main__ import main
from mmrlhf_jobs.data.queries import write_queries
from mmrlhf_jobs.evaluation.comparison.server import parse_preference
from mmrlhf_jobs.evaluation.gate.evidence import Model
from mmrlhf_jobs.evaluation.gate.files import read_input, read_results, read_verdicts
from mmrlhf_jobs.evaluation.gate.judging import Said
from tests.unit.annotation.forms import make_query
from tests.unit.data.builders import IMAGE, save_image
from tests.unit.steps.world import model_server

GOOD, POOR, EQUAL = "A full and right answer.", "Hardly.", "Just the same."
PAIRS = {
    "won": (GOOD, POOR),
    "lost": (POOR, GOOD),
    "tied": ("One way.", "Another."),
    "swayed": ("Look at the first place.", "Look at the first, too."),
    "equal": (EQUAL, f"{EQUAL}\n"),
}


def judge(text: str) -> str:
    """Prefer a full answer; be swayed by the place where told to look at it."""
    _, first, second = (one[1] for one in re.findall(r"<<(\w+)\n(.*?)\n\1>>", text, re.DOTALL))
    if "first" in first:
        return "A"
    return "TIE." if GOOD not in (first, second) else "A" if first == GOOD else "B"


class World:
    """Queries about one picture, and two models' responses to them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        save_image(folder)
        self.write(PAIRS)

    def write(
        self,
        pairs: Mapping[str, tuple[str | None, str | None]],
        *artifacts: Callable[[str], str | None],
    ) -> None:
        """Write responses; the artifact of each by its query, first for the candidate's."""
        for place, name in enumerate(("candidate", "champion")):
            rows = []
            for query, texts in pairs.items():
                said = texts[place]
                of = artifacts[place](query) if artifacts else None
                model = {"name": "m", "uri": f"s3://b/{name}", "artifact": of}
                response = {"response_id": f"{query}-{name}", "text": said}
                given = [] if said is None else [{**response, **({"model": model} if of else {})}]
                rows.append(make_query(query, responses=given))
            write_queries(rows, str(self.folder / f"{name}.jsonl"))
        write_queries([make_query(query, 0) for query in pairs], str(self.path("queries.jsonl")))

    def path(self, name: str) -> Path:
        return self.folder / name

    def run(self, url: str, *more: str) -> int:
        endpoint = {"name": "m", "baseUrl": url, "model": "m", "retry": {"firstWait": 0.01}}
        self.path("judge.yaml").write_text(yaml.safe_dump({"endpoints": [endpoint]}))
        line = [str(self.path("queries.jsonl")), str(self.path("verdicts.json"))]
        for flag, name in (
            ("--candidate", "candidate.jsonl"),
            ("--champion", "champion.jsonl"),
            ("--endpoints", "judge.yaml"),
            ("--json", "comparison.json"),
            ("--candidate-out", "candidate.json"),
            ("--champion-out", "champion.json"),
        ):
            line += [flag, str(self.path(name))]
        return main(["compare", *line, *more])

    def figures(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.path("comparison.json").read_text())
        return found

    def said(self) -> dict[str, dict[bool | None, Said]]:
        found = read_verdicts(read_input(str(self.path("verdicts.json")))).said
        return {query: dict(places) for query, places in found.items()}


def test_each_pair_is_judged_with_either_model_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world, asked = World(tmp_path), list[str]()
    with model_server(asked=asked, say=judge) as url:
        assert world.run(url) == 0, capsys.readouterr().err
        assert len(asked) == 8, "equal responses are a tie without a judge"
        made = world.path("verdicts.json").read_bytes()
        assert world.run(url) == 0
    assert len(asked) == 8, "all of it is kept"
    assert world.path("verdicts.json").read_bytes() == made
    assert world.said() == {
        "won": {True: Said.CANDIDATE, False: Said.CANDIDATE},
        "lost": {True: Said.CHAMPION, False: Said.CHAMPION},
        "tied": {True: Said.TIE, False: Said.TIE},
        "swayed": {True: Said.CANDIDATE, False: Said.CHAMPION},
        "equal": {True: Said.TIE, False: Said.TIE},
    }
    figures = world.figures()
    assert [figures[name] for name in ("wins", "ties", "losses", "errors")] == [1, 3, 1, 0]
    assert figures["winRate"]["value"] == 0.5
    agreement = figures["agreement"]
    assert (agreement["same"], agreement["queries"], agreement["firstBias"]) == (4, 5, 0.2)


def test_lengths_of_both_are_for_the_gates_alarm(tmp_path: Path) -> None:
    world = World(tmp_path)
    with model_server(say=judge) as url:
        assert world.run(url) == 0
    ours, theirs = (
        read_results(read_input(str(world.path(name)))).figures["length"]
        for name in ("candidate.json", "champion.json")
    )
    assert ours.data == theirs.data
    assert ours.values["won", ""] == len(GOOD)
    assert theirs.values["won", ""] == len(POOR)


def test_what_comes_of_it_names_the_models_that_have_answered(tmp_path: Path) -> None:
    world = World(tmp_path)
    with model_server(say=judge) as url:
        assert world.run(url) == 0
        files = [str(world.path(f"{name}.json")) for name in ("verdicts", "candidate", "champion")]
        verdicts, ours, theirs = read_verdicts(read_input(files[0])), *map(measured, files[1:])
        assert (verdicts.candidate, verdicts.champion) == (None, None), "nobody has named them"
        assert [(one.artifacts, one.unnamed) for one in (ours, theirs)] == [(frozenset(), 1)] * 2
        world.write(PAIRS, lambda _: "c" * 64, lambda _: "d" * 64)
        assert world.run(url) == 0
    verdicts, ours, theirs = read_verdicts(read_input(files[0])), *map(measured, files[1:])
    assert (verdicts.candidate, verdicts.champion) == ("c" * 64, "d" * 64)
    assert [(one.artifacts, one.unnamed) for one in (ours, theirs)] == [
        (frozenset(["c" * 64]), 0),
        (frozenset(["d" * 64]), 0),
    ]
    assert world.figures()["models"] == {
        "candidate": {"policy": "s3://b/candidate", "artifact": "c" * 64},
        "champion": {"policy": "s3://b/champion", "artifact": "d" * 64},
    }


def measured(path: str) -> Model:
    return read_results(read_input(path))


@pytest.mark.parametrize("other", ["e" * 64, None], ids=["another", "no name"])
def test_responses_of_two_models_are_those_of_none(
    other: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world = World(tmp_path)
    world.write(PAIRS, lambda query: other if query == "lost" else "c" * 64, lambda _: "d" * 64)
    with model_server(say=judge) as url:
        assert world.run(url) == 2
    told = capsys.readouterr().err
    assert "candidate.jsonl, row 2, field responses: the response to 'lost' is of" in told
    assert "that to 'won' of artifact cccccccccccc; judge the responses of one model" in told


@pytest.mark.parametrize(
    ("say", "reason", "most"),
    [
        (lambda text: f"I prefer {judge(text)}", "noVerdict", 16),
        (lambda text: "C", "noVerdict", 16),
    ],
)
def test_a_judge_that_gives_no_verdict_ends_the_step_and_all_is_kept(
    say: Callable[[str], str],
    reason: str,
    most: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    world, asked = World(tmp_path), list[str]()
    with model_server(asked=asked, say=say) as url:
        assert world.run(url) == 1
        assert f"4 of 5 queries have no verdict (4 {reason})" in capsys.readouterr().err
        assert set(world.said()["won"].values()) == {Said.ERROR}
        assert set(world.said()["equal"].values()) == {Said.TIE}
        assert world.run(url, "--max-error-fraction", "0.8") == 0
    assert len(asked) == most
    assert world.figures()["errors"] == 4


def test_a_response_that_is_missing_is_an_error_and_nobody_is_asked(tmp_path: Path) -> None:
    world, asked = World(tmp_path), list[str]()
    world.write({**PAIRS, "won": (None, GOOD)})
    with model_server(asked=asked, say=judge) as url:
        assert world.run(url) == 1
        assert world.run(url, "--max-error-fraction", "0.2") == 0
    assert world.figures()["reasons"] == {"noResponse": 1}
    assert sorted(Counter(asked).values()) == [1] * 6
    results = read_results(read_input(str(world.path("candidate.json"))))
    assert results.figures["length"].values["won", ""] is None


def test_the_judge_is_shown_the_picture(tmp_path: Path) -> None:
    world, seen = World(tmp_path), list[Any]()
    with model_server(say=judge, bodies=seen) as url:
        assert world.run(url) == 0
    assert len(seen) == 8
    sent = base64.b64encode(IMAGE).decode()
    for body in seen:
        image, text = body["messages"][0]["content"]
        assert image["image_url"]["url"].endswith(sent)
        assert text["text"].startswith("You compare two responses")


def test_a_picture_that_is_another_one_is_never_sent(tmp_path: Path) -> None:
    world, seen = World(tmp_path), list[Any]()
    world.path("image.png").write_bytes(b"another")
    with model_server(say=judge, bodies=seen) as url:
        assert world.run(url) == 2
    assert seen == []


@pytest.mark.parametrize(
    ("text", "first", "said"),
    [
        ("A", True, Said.CANDIDATE),
        ("a.", False, Said.CHAMPION),
        ("B\n", True, Said.CHAMPION),
        ("b", False, Said.CANDIDATE),
        ("Tie", True, Said.TIE),
        ("A or B", True, None),
        ("Response A", True, None),
        ("AB", True, None),
        ("", True, None),
    ],
)
def test_a_preference_is_one_word_and_nothing_more(
    text: str, first: bool, said: Said | None
) -> None:
    assert parse_preference(text, candidate_first=first) is said


def test_who_judges_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = World(tmp_path)
    assert world.run("http://127.0.0.1:9/v1", "--reward", "/judge") == 2
    assert "give exactly one of endpoints and reward" in capsys.readouterr().err
