"""Reading job files."""

from __future__ import annotations

import io
import json
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import mmrlhf_api.complaints as complaints_module
from mmrlhf_api import JobFileError, job_json, load_jobs, parse_job
from mmrlhf_api import load_job as load_any_job
from mmrlhf_api.errors import MAX_PROBLEMS
from tests.unit.api.specimens import changed, job

TEXT = """\
apiVersion: mmrlhf.io/v1alpha1
kind: MMDPOJob
metadata:
  name: demo
spec:
  artifacts: {uri: out}
  model: {uri: m}
  data:
    train: {uri: d.jsonl}
  reward: {scoresUri: s.parquet}
  optimizer:
    learningRate: 1e-6
"""


def load_job(*arguments: Any, **options: Any) -> Any:
    """Typed loosely: the tests know which kind they wrote."""
    return load_any_job(*arguments, **options)


def problems(text: str, *overrides: str) -> list[str]:
    with pytest.raises(JobFileError) as caught:
        load_job(text, overrides=overrides)
    return caught.value.lines()


def test_scientific_notation_is_a_number() -> None:
    """PyYAML itself reads 1e-6 as a string."""
    assert yaml.safe_load("1e-6") == "1e-6"
    assert load_job(TEXT).spec.optimizer.learning_rate == 1e-6


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("no", 'must be true or false (given: "no")'),
        ("on", 'must be true or false (given: "on")'),
        ("1", "must be true or false (given: 1)"),
        ("", "must be true or false (given: null)"),
    ],
)
def test_only_true_and_false_are_booleans(value: str, message: str) -> None:
    text = f"{TEXT}  training: {{gradientCheckpointing: {value}}}\n"
    assert problems(text) == [f"<text>:13: spec.training.gradientCheckpointing: {message}"]


def test_leading_zeros_are_not_octal() -> None:
    assert load_job(TEXT + "  training: {epochs: 010}\n").spec.training.epochs == 10


def test_every_problem_is_listed_with_its_line() -> None:
    text = TEXT.replace("1e-6", "-1").replace("name: demo", "name: De_mo") + dedent("""\
      training:
        epoch: 2
        queriesPerStep: many
    """).replace("\n", "\n  ").join(["  ", ""])
    lines = problems(text)
    assert [line.split(": ")[0:2] for line in lines] == [
        ["<text>:4", "metadata.name"],
        ["<text>:12", "spec.optimizer.learningRate"],
        ["<text>:14", "spec.training.epoch"],
        ["<text>:15", "spec.training.queriesPerStep"],
    ]
    assert "did you mean epochs?" in lines[2]
    assert lines[3].endswith('(given: "many")')


def test_a_missing_field_is_placed_at_its_parent() -> None:
    assert problems(TEXT.replace("    train: {uri: d.jsonl}", "    train: {}")) == [
        "<text>:9: spec.data.train.uri: is required"
    ]


def test_snake_case_is_not_the_wire_format() -> None:
    """The API server would not know it either."""
    (line,) = problems(TEXT.replace("learningRate", "learning_rate"))
    assert line == (
        "<text>:12: spec.optimizer.learning_rate: unknown field; did you mean learningRate?"
    )


def test_a_key_given_twice_is_refused() -> None:
    assert problems(TEXT + "  model: {uri: n}\n") == [
        "<text>:13: spec.model: is given twice; the first is on line 7"
    ]


def test_json_is_read_even_with_tabs() -> None:
    assert load_job(json.dumps(changed(), indent="\t")).metadata.name == "demo"


def test_json_keeps_unicode() -> None:
    text = json.dumps(changed(artifacts__uri="/data/\U0001f600"), ensure_ascii=True)
    assert load_job(text).spec.artifacts.uri == "/data/\U0001f600"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n", "is empty"),
        ("# nothing\n---\n", "is empty"),
        ("- a\n- b\n", "must be a job"),
        ("a: [1\n", "is not valid YAML"),
        ("a: !!python/object/apply:os.system ['x']\n", "is not valid YAML"),
        ("1: a\n2: b\n", "a key must be a string; put 1 in quotes"),
        ("&a [*a]\n", "is nested too deeply"),
        ("[\n" * 3000, "is nested too deeply"),
        ("{\n" + "]" * 3, "is not valid YAML"),
        ("a: \x00\n", "is not valid YAML"),
        ("x: " + "9" * 5000 + "\n", "integer string conversion"),
        ("x: 2026-13-45\n", "apiVersion: is missing"),
        (
            "a: &a [1,1,1,1,1,1,1,1,1]\n"
            "b: &b ["
            + "*a," * 99
            + "*a]\nc: &c ["
            + "*b," * 99
            + "*b]\nd: ["
            + "*c," * 99
            + "*c]\n",
            "holds more than",
        ),
        (
            # A merge key copies what it names: each of these has twice as much as the one before.
            "m0: &m0 {x: 1}\n"
            + "".join(f"m{n}: &m{n}\n  <<: [*m{n - 1}, *m{n - 1}]\n" for n in range(1, 25)),
            "holds more than",
        ),
        ("a: &a\n  <<: *a\n  x: 1\n", "apiVersion: is missing"),
        ("a: &a\n  <<: [*a, *a, {y: 1}]\n", "apiVersion: is missing"),
        ("x" * 1_600_000 + ":\n", "is larger than"),
    ],
)
def test_text_that_is_no_job_is_explained(text: str, message: str) -> None:
    assert any(message in line for line in problems(text))


@given(st.text(max_size=200))
def test_no_text_ends_in_anything_but_a_job_file_error(text: str) -> None:
    with pytest.raises(JobFileError):
        load_job(text + "\n")


def test_several_documents_are_refused_or_read(tmp_path: Path) -> None:
    path = tmp_path / "jobs.yaml"
    path.write_text(f"---\n{TEXT}---\n---\n{TEXT.replace('demo', 'other')}")
    with pytest.raises(JobFileError, match="holds 2 documents; give one job a file"):
        load_job(path)
    assert [loaded.metadata.name for loaded in load_jobs(path)] == ["demo", "other"]


def test_problems_of_all_documents_are_listed() -> None:
    bad = TEXT.replace("demo", "De_mo")
    with pytest.raises(JobFileError) as caught:
        load_jobs(f"{bad}---\n{bad}")
    assert [problem.line for problem in caught.value.problems] == [4, 17]


def test_files_that_cannot_be_read_are_explained(tmp_path: Path) -> None:
    latin = tmp_path / "latin.yaml"
    latin.write_bytes("name: Käse".encode("latin-1"))
    for path, message in (
        (tmp_path / "none.yaml", "No such file or directory"),
        (tmp_path, "Is a directory"),
        (latin, "is not UTF-8 text (byte 7)"),
        ("a\0b", "cannot be read"),
    ):
        with pytest.raises(JobFileError) as caught:
            load_job(path)
        assert message in str(caught.value)


def test_standard_input_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xef\xbb\xbf" + TEXT.encode())))
    assert load_job("-").metadata.name == "demo"


def test_kind_and_version_are_checked_first() -> None:
    lines = problems(TEXT.replace("MMDPOJob", "MMDPOjob").replace("v1alpha1", "v1"))
    assert lines == [
        '<text>:1: apiVersion: must be mmrlhf.io/v1alpha1 (given: "mmrlhf.io/v1")',
        (
            "<text>:2: kind: must be one of MMDPOJob, RewardTrainJob, ClusterSampleJob, StepJob; "
            'did you mean MMDPOJob? (given: "MMDPOjob")'
        ),
    ]


def test_overrides_change_fields() -> None:
    read = load_job(
        TEXT,
        overrides=[
            "spec.training.epochs=2",
            "spec.optimizer.learningRate=5e-7",
            "spec.data.train.uri=other.jsonl",
            "spec.podTemplate.env=[{name: A, value: '1'}]",
            "spec.podTemplate.env[0].value='x=y'",
            "metadata.name=renamed",
            "spec.objective.beta.strategy=fixed",
            "spec.reward=null",
        ],
    )
    assert read.spec.training.epochs == 2
    assert read.spec.optimizer.learning_rate == 5e-7
    assert read.spec.data.train.uri == "other.jsonl"
    assert read.spec.pod_template.env[0].value == "x=y"
    assert read.metadata.name == "renamed"
    assert read.spec.reward is None


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("spec.training.epochs=two", "must be an integer"),
        ("spec.training.epoch=2", "did you mean epochs?"),
        ("spec.training", "must be FIELD=VALUE"),
        ("status.phase=Failed", "only fields below metadata and spec"),
        ("spec.model.uri.x=1", "spec.model.uri is not a mapping"),
        ("spec.model[0]=1", "spec.model is not a list"),
        ("spec.podTemplate.env[3].value=1", "is not a list"),
        ("spec.=1", "ends with a dot"),
        ("spec.training.epochs=[1", "the value is not valid YAML"),
    ],
)
def test_a_wrong_override_is_named(override: str, message: str) -> None:
    (line,) = problems(TEXT, override)
    assert line.startswith(f"--set {override}: ")
    assert message in line


def test_the_canonical_form_reads_back_as_the_same_job() -> None:
    for kind in ("MMDPOJob", "RewardTrainJob", "ClusterSampleJob"):
        original = job(kind)
        assert load_job(job_json(original)) == original


@pytest.mark.parametrize("place", ["spec", "metadata", "both"])
def test_very_many_problems_are_counted_and_not_all_explained(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    explained = 0
    real = complaints_module._unknown

    def counted(name: str, known: list[str]) -> str:
        nonlocal explained
        explained += 1
        return real(name, known)

    monkeypatch.setattr(complaints_module, "_unknown", counted)
    body = changed()
    for part in ("spec", "metadata") if place == "both" else (place,):
        body[part] |= {f"x{number}": 1 for number in range(20_000)}
    with pytest.raises(JobFileError) as caught:
        parse_job(body, source="x")
    assert explained == MAX_PROBLEMS
    assert len(caught.value.problems) == MAX_PROBLEMS + 1
    left = (40_000 if place == "both" else 20_000) - MAX_PROBLEMS
    assert f"and {left:,} more problems" in caught.value.problems[-1].message


def test_keys_that_are_given_twice_are_counted_too() -> None:
    with pytest.raises(JobFileError) as caught:
        load_jobs(TEXT + "  x: 1\n" * 1000)
    assert len(caught.value.problems) == MAX_PROBLEMS + 1
