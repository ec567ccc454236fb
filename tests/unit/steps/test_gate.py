"""The gate as a step: decides by files, writes why, and moves the alias on a promotion alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmrlhf_jobs.__main__ import main
from mmrlhf_jobs.data.writers import write_records
from mmrlhf_jobs.scores.keys import SidecarIdentity, record_keys
from mmrlhf_jobs.scores.writer import SidecarWriter
from mmrlhf_jobs.storage.alias import Alias, AliasStore, artifact_digest
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from tests.unit.data.builders import make_record

NAME = "default/vqa"
BENCH = {"name": "bench", "measure": "outcomes", "figure": "right"}


class World:
    """Two models, an alias that stands for the champion, and results of both."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = folder / "store"
        for name in ("candidate", "champion"):
            (folder / name).mkdir()
            (folder / name / "weights").write_text(name)
            ArtifactStore(str(self.store)).publish(folder / name, name)
        assert (
            self.run("alias", "promote", self.store, NAME, "--artifact", self.artifact("champion"))
            == 0
        )

    def run(self, *arguments: object) -> int:
        return main([str(one) for one in arguments])

    def artifact(self, name: str) -> str:
        return str(self.store / name)

    def rules(self, *criteria: dict[str, Any], **more: Any) -> Path:
        path = self.folder / "rules.yaml"
        path.write_text(yaml.safe_dump({"criteria": list(criteria), **more}))
        return path

    def results(self, name: str, right: Sequence[float | None], **more: Any) -> Path:
        rows = [{"query": f"q{n}", "figures": {"right": one}} for n, one in enumerate(right)]
        content = {"version": "GateResults/v1", "data": "held-out", "rows": rows, **more}
        path = self.folder / f"{name}.json"
        path.write_text(json.dumps(content))
        return path

    def judge(self, candidate: Path, champion: Path) -> dict[str, Any]:
        """Run the gate over the alias, and return its report."""
        out = self.folder / "report.json"
        files = ["--candidate", candidate, "--champion", champion]
        place = ["--store", self.store, "--alias", NAME, "--artifact", self.artifact("candidate")]
        assert self.run("gate", self.rules(BENCH), out, *files, *place) == 0
        report: dict[str, Any] = json.loads(out.read_text())
        return report

    @property
    def alias(self) -> Alias:
        alias = AliasStore(str(self.store)).read(NAME)
        assert alias is not None
        return alias


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_better_candidate_takes_the_alias(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    right, wrong = [1.0] * 200, [1.0] * 50 + [0.0] * 150
    report = world.judge(world.results("a", right), world.results("b", wrong))
    told = capsys.readouterr()
    assert report["outcome"] == "Promoted"
    assert "Promoted (each check at level 0.05)" in told.out
    assert f"{NAME} stands for" in told.err
    assert world.alias.current.uri == world.artifact("candidate")
    assert world.alias.current.digest == artifact_digest(world.artifact("candidate"))
    cause = world.alias.current.cause
    assert (cause.by, cause.report) == ("gate", str(world.folder / "report.json"))
    written = (world.folder / "report.json").read_bytes()
    assert cause.report_digest == hashlib.sha256(written).hexdigest()
    inputs = report["inputs"]["candidate"]
    read = (world.folder / "a.json").read_bytes()
    assert inputs == [
        {"uri": str(world.folder / "a.json"), "sha256": hashlib.sha256(read).hexdigest()}
    ]
    assert report["champion"] == artifact_digest(world.artifact("champion"))


@pytest.mark.parametrize(
    ("candidate", "outcome"),
    [
        ([0.0] * 200, "Rejected"),
        ([1.0] * 50 + [0.0] * 150, "Rejected"),
        ([1.0] * 100, "CannotJudge"),
        ([None, *[1.0] * 199], "CannotJudge"),
        ([float("nan"), *[1.0] * 199], "CannotJudge"),
    ],
    ids=["worse", "same", "fewer queries", "no value", "NaN"],
)
def test_no_other_candidate_moves_it(
    world: World, candidate: list[float | None], outcome: str
) -> None:
    """A rejection is an answer: the step ends well."""
    before = world.alias
    champion = world.results("b", [1.0] * 50 + [0.0] * 150)
    report = world.judge(world.results("a", candidate), champion)
    assert report["outcome"] == outcome
    assert world.alias == before


def test_results_of_other_models_cannot_be_judged(world: World) -> None:
    right, wrong = [1.0] * 200, [0.0] * 200
    good, old = (artifact_digest(world.artifact(name)) for name in ("candidate", "champion"))
    for named, message in (
        ((good, "f" * 64), "the champion's results are of artifact ffffffffffff"),
        (("f" * 64, old), "the candidate's results are of artifact ffffffffffff"),
    ):
        candidate = world.results("a", right, artifact=named[0])
        report = world.judge(candidate, world.results("b", wrong, artifact=named[1]))
        assert report["outcome"] == "CannotJudge"
        assert message in report["sentence"]
    assert len(world.alias.history) == 0
    candidate = world.results("a", right, artifact=good)
    champion = world.results("b", wrong, artifact=old)
    assert world.judge(candidate, champion)["outcome"] == "Promoted"
    moved = world.alias
    assert world.judge(candidate, champion)["outcome"] == "Promoted", "as if it were cut off"
    assert world.alias == moved


def test_verdicts_of_other_models_cannot_be_judged(world: World) -> None:
    good, old = (artifact_digest(world.artifact(name)) for name in ("candidate", "champion"))
    said = [
        {"query": f"q{n}", "first": first, "winner": "candidate"}
        for n in range(200)
        for first in ("candidate", "champion")
    ]
    path = world.folder / "verdicts.json"
    rules, out = world.rules({"name": "judge", "measure": "verdicts"}), world.folder / "r.json"
    place = ["--store", world.store, "--alias", NAME, "--artifact", world.artifact("candidate")]

    def judge(**named: str) -> dict[str, Any]:
        path.write_text(json.dumps({"version": "GateVerdicts/v1", **named, "verdicts": said}))
        assert world.run("gate", rules, out, "--verdicts", path, *place) == 0
        report: dict[str, Any] = json.loads(out.read_text())
        return report

    for named, message in (
        ({"candidate": "f" * 64, "champion": old}, "the verdicts' candidate is of artifact ffff"),
        ({"candidate": good, "champion": "f" * 64}, f"but the champion is {old[:12]}"),
        ({"champion": good}, "the verdicts' champion is of artifact"),
    ):
        report = judge(**named)
        assert report["outcome"] == "CannotJudge"
        assert message in report["sentence"]
    assert len(world.alias.history) == 0
    report = judge(candidate=good, champion=old)
    (check,) = [one for one in report["checks"] if one["name"] == "models"]
    assert check["sentence"] == "all results name their artifact, and are of these models"
    assert report["outcome"] == "Promoted"


def test_results_of_earlier_versions_name_nothing_and_are_counted(world: World) -> None:
    right, wrong = [1.0] * 200, [0.0] * 200
    good = artifact_digest(world.artifact("candidate"))
    for named, unnamed, sentence in (
        ({}, 2, "no results name the artifact that they are of"),
        ({"artifact": good}, 1, "rests on who gave them: 1 name none"),
    ):
        candidate = world.results("a", right, **named)
        report = world.judge(candidate, world.results("b", wrong))
        (check,) = [one for one in report["checks"] if one["name"] == "models"]
        assert sentence in check["sentence"]
        assert check["figures"] == {"unnamed": unnamed}
        assert report["outcome"] == "Promoted"


def test_rollback_by_hand(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.judge(world.results("a", [1.0] * 200), world.results("b", [0.0] * 200))
    capsys.readouterr()
    assert world.run("alias", "rollback", world.store, NAME, "--reason", "complaints") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["current"]["uri"] == world.artifact("champion")
    assert shown["current"]["cause"]["reason"] == "complaints"
    assert [entry["withdrawn"] for entry in shown["history"]] == [True, True]
    assert world.run("alias", "show", world.store, "default/other") == 2
    assert "there is no alias 'default/other'" in capsys.readouterr().err


def test_reward_models_are_compared_by_what_people_prefer(world: World) -> None:
    """From records and side-cars, as `bench` takes them; a score that lacks is no judgement."""
    folder = world.folder
    records = [make_record(f"r{n}", query={"text": f"Digit {n}?"}) for n in range(180)]
    write_records(records, str(folder / "bench.jsonl"))

    def score(name: str, wrong: int, records: Sequence[Any]) -> Path:
        path = folder / name
        with SidecarWriter(str(path), SidecarIdentity(kind="reward")) as writer:
            for number, record in enumerate(records):
                values = [1.0, 0.0] if number >= wrong else [0.0, 1.0]
                names = [one.response_id for one in record.responses]
                writer.write(record_keys(record), values, record_id="r", response_ids=names)
        return path

    rules = world.rules(
        {**BENCH, "figure": "queryRight"}, {**BENCH, "name": "p", "figure": "pairRight"}
    )
    out = folder / "report.json"

    def judge(candidate: Path, champion: Path) -> dict[str, Any]:
        files = ["--candidate-scores", candidate, "--champion-scores", champion]
        assert world.run("gate", rules, out, "--bench", folder / "bench.jsonl", *files) == 0
        found: dict[str, Any] = json.loads(out.read_text())
        return found

    better, worse = score("a.parquet", 10, records), score("b.parquet", 100, records)
    assert judge(better, worse)["outcome"] == "Promoted"
    assert judge(better, worse)["checks"][0]["figures"]["wins"] == 90
    assert judge(worse, better)["outcome"] == "Rejected"
    fewer = score("c.parquet", 0, records[1:])
    found = judge(fewer, worse)
    assert found["outcome"] == "CannotJudge"
    assert "1 of the candidate's values are missing" in found["sentence"]


def test_verdicts_of_a_judge_are_read(world: World) -> None:
    said = [
        {"query": f"q{n}", "first": first, "winner": "candidate" if n < 130 else "champion"}
        for n in range(200)
        for first in ("candidate", "champion")
    ]
    path = world.folder / "verdicts.json"
    path.write_text(json.dumps({"version": "GateVerdicts/v1", "verdicts": said}))
    rules, out = world.rules({"name": "judge", "measure": "verdicts"}), world.folder / "r.json"
    assert world.run("gate", rules, out, "--verdicts", path) == 0
    report = json.loads(out.read_text())
    assert report["outcome"] == "Promoted"
    assert report["checks"][0]["figures"]["agreement"] == 1
    path.write_text(json.dumps({"version": "GateVerdicts/v1", "verdicts": [said[0], said[0]]}))
    assert world.run("gate", rules, out, "--verdicts", path) == 2


def test_answers_to_harmful_requests_are_read(world: World) -> None:
    rows = [{"query": f"s{n}", "answer": "refused" if n else "harmful"} for n in range(100)]
    path = world.folder / "safety.json"
    path.write_text(json.dumps({"version": "GateResults/v1", "data": "s", "rows": rows}))
    rules, out = world.rules(safety={"maxAsr": 0.1}), world.folder / "r.json"
    assert world.run("gate", rules, out, "--candidate", path) == 0
    (check,) = json.loads(out.read_text())["checks"]
    assert (check["figures"]["asr"], check["figures"]["rta"]) == (0.01, 0.99)


ROW = {"query": "q", "figures": {"right": 1}}
GOOD = {"version": "GateResults/v1", "data": "d", "rows": [ROW]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "a.json: not valid JSON"),
        ({**GOOD, "version": "GateResults/v9"}, "a.json, field version"),
        ({**GOOD, "rows": []}, "a.json, field rows"),
        ({**GOOD, "rows": [ROW, ROW]}, "a.json, field rows[1]: query 'q' comes twice"),
        ({**GOOD, "rows": [{"query": "q", "answer": "safe"}]}, "a.json, field rows[0].answer"),
        ({**GOOD, "rows": [{"query": "q", "figures": {"x": "1"}}]}, "field rows[0].figures.x"),
        (
            {**GOOD, "rows": [{"query": "q", "row": row, "answer": "refused"} for row in "ab"]},
            "a.json, field rows[1]: query 'q' comes twice",
        ),
        (None, "a.json: there is no such file"),
    ],
)
def test_a_wrong_file_of_results_is_one_clear_error(
    world: World, content: object, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = world.folder / "a.json"
    if content is not None:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    out = world.folder / "r.json"
    assert world.run("gate", world.rules(BENCH), out, "--candidate", path) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("criteria: [", "rules.yaml: not valid YAML"),
        ("criteria: []\n", "give criteria or safety"),
        ("criteria: [{name: a, measure: odd}]\n", "rules.yaml, field criteria[0].measure"),
        ("alfa: 0.1\n", "rules.yaml, field alfa"),
    ],
)
def test_wrong_rules_are_one_clear_error(
    world: World, text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = world.folder / "rules.yaml"
    path.write_text(text)
    assert world.run("gate", path, world.folder / "r.json") == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--alias", NAME], "alias and artifact need each other"),
        (["--alias", NAME, "--artifact", "/m"], "store is missing: it is where the alias is"),
        (["--bench", "b"], "bench and candidateScores need each other"),
        (["--champion-scores", "b"], "championScores: needs bench"),
    ],
)
def test_options_that_need_each_other_are_told(
    world: World, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert world.run("gate", world.rules(BENCH), world.folder / "r.json", *arguments) == 2
    assert message in capsys.readouterr().err
    assert world.run("alias", "show", world.store, NAME, "--artifact", "x") == 2
    assert "promote needs an artifact" in capsys.readouterr().err


def test_a_figure_in_two_files_is_told(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    path = world.results("a", [1.0] * 200)
    twice = ["--candidate", path, "--candidate", path]
    assert world.run("gate", world.rules(BENCH), world.folder / "r.json", *twice) == 2
    assert "two files have results of the candidate in 'right'" in capsys.readouterr().err
