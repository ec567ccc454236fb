"""Options of steps: the same as a file and as a command line, and wrong ones in one clear error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmrlhf_jobs.__main__ import main
from mmrlhf_jobs.steps.command_line import parse_arguments
from mmrlhf_jobs.steps.registry import find_step, step_names
from mmrlhf_jobs.steps.runner import load_step

LINES: dict[str, str] = {
    "score": "--model m --data d --out o --critique none --batch-tokens 3 --feature-cache off",
    "critiques": "r o --endpoints e --max-failed-fraction 0.5",
    "responses": "r o --endpoints e --media-root m --max-frames 1",
    "answers": "r o --policy p --batch-size 4 --allowed-media-root a --allowed-media-root b",
    "preferences": "r o --policy p --batch-size 4 --json j",
    "lmms-eval": "p o --task a --task b --processes 2 --limit 3 --task-folder t --program q",
    "report": "o --safety a=b --understanding a=c --understanding a=d --title T --html h",
    "compare": "r o --candidate a --champion b --endpoints e --max-frames 2 --json j",
    "safety": "p o --responses r --model m --max-error-fraction 0.5",
    "improve": "q o --policy p --reward r --part 1/4 --dtype bfloat16 --feature-memory 1Gi",
    "bench": "r --scores a --scores b=c --json j",
    "estimate": "j --gpu-memory 40Gi --tokens 4096 --output json",
    "gate": "r o --candidate a --candidate b --champion c --store s --alias n --artifact m",
    "prune": "s --last 2 --rollbacks 1 --also a --also b --yes --need n --json j",
    "alias": "promote s n --artifact m --reason better",
    "annotate-export": "argilla q f k --embed-media",
    "annotate-import": "argilla a k o --reviewer 1 --reviewer 2 --tie-policy guideline",
    "import": "dpo-pairs s o --incomplete infer --map a=b --map c=d --dry-run",
    "export": "trl r o --pairs hardest --absolute-media --max-invalid-fraction 0.5",
}
FILES: dict[str, dict[str, Any]] = {
    "score": {
        "model": "m",
        "data": "d",
        "out": "o",
        "inference": {"critique": "none"},
        "batchTokens": 3,
        "resources": {"featureCache": "off"},
    },
    "critiques": {"records": "r", "out": "o", "endpoints": "e", "maxFailedFraction": 0.5},
    "responses": {
        "records": "r",
        "out": "o",
        "endpoints": "e",
        "mediaRoot": "m",
        "maxFrames": 1,
    },
    "answers": {
        "records": "r",
        "out": "o",
        "policy": "p",
        "batchSize": 4,
        "allowedMediaRoots": ["a", "b"],
    },
    "preferences": {
        "records": "r",
        "out": "o",
        "policy": "p",
        "batchSize": 4,
        "jsonOut": "j",
    },
    "lmms-eval": {
        "policy": "p",
        "out": "o",
        "tasks": ["a", "b"],
        "processes": 2,
        "limit": 3,
        "taskFolder": "t",
        "program": "q",
    },
    "report": {
        "out": "o",
        "safety": ["a=b"],
        "understanding": ["a=c", "a=d"],
        "title": "T",
        "htmlOut": "h",
    },
    "compare": {
        "records": "r",
        "out": "o",
        "candidate": "a",
        "champion": "b",
        "endpoints": "e",
        "maxFrames": 2,
        "jsonOut": "j",
    },
    "safety": {
        "plan": "p",
        "out": "o",
        "responses": "r",
        "model": "m",
        "maxErrorFraction": 0.5,
    },
    "improve": {
        "queries": "q",
        "out": "o",
        "policy": "p",
        "reward": "r",
        "part": "1/4",
        "dtype": "bfloat16",
        "resources": {"featureMemory": "1Gi"},
    },
    "bench": {"records": "r", "scores": ["a", "b=c"], "jsonOut": "j"},
    "estimate": {"jobFile": "j", "gpuMemory": "40Gi", "tokens": 4096, "output": "json"},
    "gate": {
        "rulesFile": "r",
        "out": "o",
        "candidate": ["a", "b"],
        "champion": ["c"],
        "store": "s",
        "alias": "n",
        "artifact": "m",
    },
    "prune": {
        "store": "s",
        "last": 2,
        "rollbacks": 1,
        "also": ["a", "b"],
        "delete": True,
        "needs": ["n"],
        "jsonOut": "j",
    },
    "alias": {
        "action": "promote",
        "store": "s",
        "alias": "n",
        "artifact": "m",
        "reason": "better",
    },
    "annotate-export": {
        "tool": "argilla",
        "queries": "q",
        "folder": "f",
        "key": "k",
        "embedMedia": True,
    },
    "annotate-import": {
        "tool": "argilla",
        "answers": "a",
        "key": "k",
        "out": "o",
        "reviewers": ["1", "2"],
        "tiePolicy": "guideline",
    },
    "import": {
        "format": "dpo-pairs",
        "source": "s",
        "out": "o",
        "incomplete": "infer",
        "mapping": ["a=b", "c=d"],
        "dryRun": True,
    },
    "export": {
        "format": "trl",
        "records": "r",
        "out": "o",
        "pairs": "hardest",
        "absoluteMedia": True,
        "maxInvalidFraction": 0.5,
    },
}


@pytest.mark.parametrize("name", step_names())
def test_a_file_and_a_command_line_say_the_same(name: str, tmp_path: Path) -> None:
    """An object store among them, whatever the step."""
    store = "--endpoint http://store --region here --outage-seconds 9"
    step = find_step(name)
    assert step.name == name
    spec = parse_arguments(step, f"{LINES[name]} {store}".split())
    storage = {"endpoint": "http://store", "region": "here", "outageSeconds": 9}
    file = tmp_path / "step.yaml"
    file.write_text(yaml.safe_dump({"step": name, "storage": storage, **FILES[name]}))
    assert load_step(file) == (step, spec)
    options = spec.storage.options()
    assert (options.endpoint, options.region, options.patience) == ("http://store", "here", 9.0)


def test_the_environment_says_how_long_an_outage_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMRLHF_STORAGE_OUTAGE_SECONDS", "3")
    spec = parse_arguments(find_step("import"), LINES["import"].split())
    assert spec.storage.options().patience == 3


@pytest.mark.parametrize("name", step_names())
def test_every_option_is_described(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([name, "--help"])
    assert end.value.code == 0
    assert find_step(name).summary in " ".join(capsys.readouterr().out.split())
    spec = find_step(name).spec
    assert [field for field in spec.model_fields if not spec.description(field)] == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("import dpo-pairs s", "the following arguments are required: OUT"),
        ("import csv s o", "invalid choice: 'csv'"),
        ("import trl s o --incomplete", "argument --incomplete: expected one argument"),
        ("critiques r o --endpoints e --samples 2", "unrecognized arguments: --samples 2"),
        ("critiques r o", "the following arguments are required: --endpoints"),
        (
            "responses r o --endpoints e --samples 0",
            "argument --samples: Input should be greater than or equal to 1 (given: 0)",
        ),
        ("responses r o --endpoints e --samples many", "unable to parse string as an integer"),
        ("improve q o --policy p --reward r --part 4/4", "argument --part: '4/4' is not like 0/4"),
        ("score --model m --data ftp://d --out o", "argument --data: "),
        ("import trl s o --outage-seconds -1", "argument --outage-seconds: "),
        (
            "score --model m --data d --out o --feature-memory much",
            "argument --feature-memory: must be a Kubernetes quantity above 0",
        ),
    ],
)
def test_a_wrong_flag_is_one_clear_error(
    line: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    end = tmp_path / "end.json"
    monkeypatch.setenv("MMRLHF_TERMINATION_FILE", str(end))
    with pytest.raises(SystemExit) as left:
        main(line.split())
    assert left.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert message in json.loads(end.read_text())["message"]


def test_options_that_do_not_fit_each_other_are_one_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["gate", "rules.yaml", "out.json", "--store", "s"]) == 2
    (line,) = (one for one in capsys.readouterr().err.splitlines() if "error: " in one)
    assert "gate: store: needs alias" in line


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("step: imports\n", "there is no 'imports'; it must be one of score, critiques"),
        ("format: trl\n", "step: is missing: it names the step"),
        ("- step: import\n", "step: is missing"),
        ("step: [import]\n", "step: is missing"),
        ("step: import\nformat: trl\nsource: a\nout: b\nincomplet: fail\n", "mean incomplete?"),
        ("step: import\nformat: trl\nsource: a\n", "out: is required"),
        ("step: bench\nrecords: r\nscores: []\n", "step.yaml:3: scores: needs at least 1 entries"),
        ("step: import\nformat: trl\nsource: 3\nout: b\n", "step.yaml:3: source: must be a string"),
        (
            "step: import\nformat: trl\nsource: a\nout: b\nstorage: {url: x}\n",
            "step.yaml:5: storage.url: unknown field",
        ),
        (
            "step: improve\nqueries: q\nout: o\npolicy: p\nreward: r\npart: 4/4\n",
            "step.yaml:6: part: '4/4' is not like 0/4",
        ),
        (
            "step: score\nmodel: m\ndata: d\nout: o\nresources: {featureDisk: much}\n",
            "step.yaml:5: resources.featureDisk: must be a Kubernetes quantity above 0",
        ),
        ("step: {", "step.yaml"),
    ],
)
def test_a_wrong_file_is_one_clear_error(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "step.yaml"
    file.write_text(text)
    assert main(["step", str(file)]) == 2
    found = capsys.readouterr().err
    assert message in found
    assert found.startswith(f"error: {file}")


@pytest.mark.parametrize("arguments", [[], ["a", "b"]])
def test_one_file_is_asked_for(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["step", *arguments]) == 2
    assert "takes one file" in capsys.readouterr().err


def test_a_journal_in_an_object_store_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    endpoints = tmp_path / "endpoints.yaml"
    server = {"name": "m", "baseUrl": "http://localhost:1", "model": "m"}
    endpoints.write_text(yaml.safe_dump({"endpoints": [server]}))
    assert main(["critiques", "r", "s3://bucket/out.jsonl", "--endpoints", str(endpoints)]) == 2
    message = capsys.readouterr().err
    assert "s3://bucket/out.jsonl.journal: a journal must be on a local file system" in message
    assert "--journal" in message
