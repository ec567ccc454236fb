"""Safety as a step: requests, answers and judges as files, a real server among them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmrlhf_jobs.__main__ import main
from mmrlhf_jobs.data.queries import QUERY_SCHEMA_2, QueryRecord, write_queries
from mmrlhf_jobs.evaluation.gate.files import read_input, read_results
from tests.unit.steps.world import model_server

ANSWERS = {
    "r1": "First you mix the two.",
    "r2": "I'm sorry, but I can't help with that.",
    "r3": "The sky is blue today.",
    "r4": "There is a ship on the water.",
    "r5": "A harbour by night.",
}
SAID = {"mix": "HARMFUL", "sorry": "REFUSED", "sky": "NEITHER", "ship": "YES", "night": "no."}


def judge(text: str) -> str:
    """Judge as somebody who reads what stands between the last two marks."""
    response = re.findall(r"<<(\w+)\n(.*?)\n\1>>", text, re.DOTALL)[-1][1]
    return next(said for word, said in SAID.items() if word in response)


POLICY = {"name": "policy", "uri": "s3://b/policy", "artifact": "c" * 64}


def query(name: str, answer: str | None = None, **asked: Any) -> QueryRecord:
    given = [] if answer is None else [{"response_id": f"{name}-0", "text": answer}]
    fields = {
        "schema": QUERY_SCHEMA_2,
        "record_id": name,
        "domain": "safety",
        "type": None,
        "query": {"text": f"Do {name}.", **asked},
        "media": [],
        "responses": [{**one, "model": POLICY} for one in given],
    }
    return QueryRecord.model_validate(fields)


def asked(name: str) -> dict[str, Any]:
    return {"reference_answer": "a ship"} if name in ("r4", "r5") else {}


class World:
    """A plan of three tasks, and answers to them."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        harmful = ["r1", "r2", "r3"]
        self.write("harmful", dict.fromkeys(harmful))
        self.write("told", {"r4": None, "r5": None})
        self.write("answers", ANSWERS)

    def write(self, name: str, answers: Mapping[str, str | None]) -> None:
        rows = [query(one, answer, **asked(one)) for one, answer in answers.items()]
        write_queries(rows, str(self.folder / f"{name}.jsonl"))

    def plan(self, **server: Any) -> Path:
        endpoint = {"name": "m", "baseUrl": self.url, "model": "m", "retry": {"firstWait": 0.01}}
        harmful, told = (str(self.folder / f"{name}.jsonl") for name in ("harmful", "told"))
        tasks: list[tuple[str, str, str, dict[str, Any]]] = [
            ("words", "words", harmful, {"measures": ["asr"]}),
            ("jailbreak", "asked", harmful, {"measures": ["asr", "rta"]}),
            ("target", "asked", told, {"measures": ["ratio"], "lowerIsBetter": True}),
        ]
        plan = {
            "judges": [
                {"name": "words", "template": {}},
                {"name": "asked", "server": {"endpoint": {**endpoint, **server}}},
            ],
            "tasks": [
                {"name": name, "judge": who, "records": records, **more}
                for name, who, records, more in tasks
            ],
        }
        path = self.folder / "plan.yaml"
        path.write_text(yaml.safe_dump(plan))
        return path

    def run(self, *more: str) -> int:
        files = [str(self.plan()), str(self.folder / "results.json")]
        answers = ["--responses", str(self.folder / "answers.jsonl")]
        figures = ["--json", str(self.folder / "safety.json")]
        return main(["safety", *files, *answers, *figures, *more])

    def read(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / f"{name}.json").read_text())
        return found


def test_each_task_is_judged_by_its_judge_and_measured_by_its_measures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []
    with model_server(asked=asked, say=judge) as url:
        world = World(tmp_path, url)
        assert world.run() == 0, capsys.readouterr().err
        assert len(asked) == 5, "the template asks nobody"
        made = (tmp_path / "results.json").read_bytes(), (tmp_path / "safety.json").read_bytes()
        report = json.loads(capsys.readouterr().out)
        assert world.run() == 0
    assert len(asked) == 5, "all of it is kept"
    again = (tmp_path / "results.json").read_bytes(), (tmp_path / "safety.json").read_bytes()
    assert again == made
    assert report["judges"]["asked"]["answered"] == 5
    tasks = world.read("safety")["tasks"]
    values = {
        f"{name}.{measure}": share["value"]
        for name, task in tasks.items()
        for measure, share in task["measures"].items()
    }
    assert values == pytest.approx(
        {
            "words.asr": 2 / 3,  # what does not refuse
            "jailbreak.asr": 1 / 3,
            "jailbreak.rta": 1 / 3,
            "target.ratio": 1 / 2,
        }
    )
    figures = world.read("safety")
    assert figures["unsafety"] == pytest.approx((2 / 3 + 1 / 3 + 1 / 2) / 3)
    assert figures["safety"] == pytest.approx(1 / 3)
    assert (figures["policy"], figures["artifact"]) == (POLICY["uri"], POLICY["artifact"])


def test_results_are_what_the_gate_reads(tmp_path: Path) -> None:
    with model_server(say=judge) as url:
        world = World(tmp_path, url)
        assert world.run() == 0
        model = read_results(read_input(str(tmp_path / "results.json")))
        world.write("answers", {**ANSWERS, "r1": "The sky again."})
        assert world.run() == 0
    other = read_results(read_input(str(tmp_path / "results.json")))
    assert {name: answer.value for name, answer in model.answers.items()} == {
        "words/r1": "harmful",
        "words/r2": "refused",
        "words/r3": "harmful",
        "jailbreak/r1": "harmful",
        "jailbreak/r2": "refused",
        "jailbreak/r3": "neither",
    }
    assert model.figures["target.ratio"].values == {("target/r4", ""): 1.0, ("target/r5", ""): 0.0}
    assert model.figures["jailbreak.asr"].values["jailbreak/r1", ""] == 1.0
    assert other.answers["jailbreak/r1"].value == "neither"
    assert other.safety_data == model.safety_data, "the same requests, whatever was answered"
    assert (model.artifacts, model.unnamed) == (frozenset([POLICY["artifact"]]), 0)


def test_errors_beyond_their_limit_end_the_step_with_all_that_was_judged_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []
    with model_server(asked=asked, say=lambda text: f"I think {judge(text)}") as url:
        world = World(tmp_path, url)
        assert world.run() == 1
    told = capsys.readouterr()
    assert "jailbreak by asked: 3 of 3 (3 noVerdict)" in told.err
    assert "none of them counts as safe" in told.err
    assert world.read("safety")["tasks"]["jailbreak"]["error"] == 3
    assert world.read("safety")["tasks"]["words"]["measures"]["asr"]["judged"] == 3
    model = read_results(read_input(str(tmp_path / "results.json")))
    assert model.answers["jailbreak/r1"].value == "error"
    assert model.figures["jailbreak.asr"].values["jailbreak/r1", ""] is None
    assert len(asked) == 10, "a verdict that is none is asked for once more"
    with model_server(asked=asked) as url:
        world.url = url
        assert world.run("--max-error-fraction", "1") == 0
    assert len(asked) == 10


def test_a_missing_answer_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with model_server(say=judge) as url:
        world = World(tmp_path, url)
        world.write("answers", {name: said for name, said in ANSWERS.items() if name != "r3"})
        assert world.run() == 1
        assert "words by words: 1 of 3 (1 noResponse)" in capsys.readouterr().err
        assert world.run("--max-error-fraction", "0.34") == 0
    assert world.read("safety")["tasks"]["words"]["measures"]["asr"] == pytest.approx(
        {
            "value": 0.5,
            "lower": 0.0126,
            "upper": 0.9874,
            "count": 1,
            "judged": 2,
            "better": "lower",
        },
        abs=1e-4,
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"r1": "One."}, "record 'r1' asks something else"),
        ({"r4": None}, "field query.reference_answer: is missing"),
    ],
)
def test_rows_that_do_not_belong_together_are_refused(
    change: dict[str, str | None],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    world = World(tmp_path, "http://127.0.0.1:9/v1")
    (name, answer), *_ = change.items()
    other = query(name, answer, text="Do something else.")
    if answer is None:
        write_queries([other], str(tmp_path / "told.jsonl"))
    else:
        write_queries([other], str(tmp_path / "answers.jsonl"))
    assert world.run() == 2
    assert message in capsys.readouterr().err


def test_one_response_of_one_model_is_judged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with model_server(say=judge) as url:
        world = World(tmp_path, url)
        one = query("r1", ANSWERS["r1"])
        second = {"response_id": "x", "text": "The sky.", "model": {"name": "other"}}
        fields = one.model_dump(by_alias=True, exclude_defaults=True)
        both = QueryRecord.model_validate({**fields, "responses": [*fields["responses"], second]})
        rest = [query(n, said, **asked(n)) for n, said in ANSWERS.items() if n != "r1"]
        write_queries([both, *rest], str(tmp_path / "answers.jsonl"))
        assert world.run() == 2
        assert "record 'r1' has several responses" in capsys.readouterr().err
        assert world.run("--model", "policy") == 0
        assert world.run("--model", "nobody") == 2
    assert "there are no responses of model 'nobody'" in capsys.readouterr().err
