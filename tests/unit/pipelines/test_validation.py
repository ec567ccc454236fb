"""What is wrong with a pipeline is said before a job is made, with its field and its line."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import yaml

from mmrlhf_api.bounds import MAX_JOB_NAME
from mmrlhf_api.errors import FieldError, JobFileError
from mmrlhf_api.kinds import KINDS
from mmrlhf_api.pipelines import AlignmentRun, freeze, parse_pipeline
from mmrlhf_api.pipelines.names import job_name
from mmrlhf_api.templates import TemplateKind
from mmrlhf_api.yamltree import Document, parse_documents
from tests.unit.pipelines.specimens import body, pipeline, run

SCORE: dict[str, Any] = {
    "step": "score",
    "score": {"model": "s3://judge", "data": "s3://data/x.jsonl"},
}


def problems(given: dict[str, Any]) -> list[str]:
    (document,) = parse_documents(yaml.safe_dump(given, sort_keys=False))
    with pytest.raises(JobFileError) as caught:
        parse_pipeline(document, source="p.yaml", in_cluster=True)
    assert all(problem.line for problem in caught.value.problems)
    return [str(problem) for problem in caught.value.problems]


def score(**part: Any) -> dict[str, Any]:
    return {"spec": {"step": "score", "score": {**SCORE["score"], **part}}}


def test_a_valid_one_is_valid_and_so_is_a_run_of_it() -> None:
    assert [step.name for step in pipeline().spec.steps] == ["judge", "score", "bench", "align"]
    made = run()
    assert isinstance(made, AlignmentRun)
    assert {one.name: one.value for one in made.spec.parameters} == {"epochs": 1, "week": "2026-48"}


def test_steps_may_be_of_every_kind_of_jobs() -> None:
    assert set(get_args(TemplateKind)) == set(KINDS)


CASES: list[tuple[dict[str, Any], list[str]]] = [
    (
        {"score": score(model="${steps.jude.model}")},
        ["spec.steps[1].spec.score.model: there is no step jude; there are: judge, score"],
    ),
    (
        {"score": score(model="${steps.judge.modle}")},
        ["spec.steps[1].spec.score.model: step judge leaves no modle; it leaves: model"],
    ),
    (
        {
            "bench": {
                "spec": {
                    "step": "bench",
                    "bench": {"records": "s3://d", "scores": "${steps.judge.model}"},
                }
            }
        },
        ["spec.steps[2].spec.bench.scores: takes scores, and ${steps.judge.model} is model"],
    ),
    (
        {
            "judge": {
                "kind": "MMDPOJob",
                "spec": {
                    "model": {"uri": "s3://m"},
                    "data": {"train": {"uri": "s3://d"}},
                    "objective": {"beta": {"strategy": "fixed"}},
                },
            }
        },
        [
            "spec.steps[1].spec.score.model: takes a folder with reward_model.json",
            "spec.steps[3].spec.reward.modelUri: takes a folder with reward_model.json",
        ],
    ),
    (
        {"score": score(mediaRoot="${steps.judge.model}")},
        ["spec.steps[1].spec.score.mediaRoot: takes no output of a step"],
    ),
    (
        {"score": score(batchTokens="${steps.judge.model}")},
        ["spec.steps[1].spec.score.batchTokens: must be an integer; it takes no output of a step"],
    ),
    (
        {"score": score(data="s3://data/${steps.judge.model}")},
        ["spec.steps[1].spec.score.data: ${steps.judge.model} must stand alone"],
    ),
    (
        {"score": score(data="${parameters.wek}")},
        ["spec.steps[1].spec.score.data: there is no parameter wek; there are: epochs, week"],
    ),
    (
        {"score": score(data="s3://${steps.judge")},
        ["spec.steps[1].spec.score.data: ${steps.judge has no end"],
    ),
    (
        {"score": score(data="${judge.model}")},
        ["spec.steps[1].spec.score.data: ${judge.model} is no reference"],
    ),
    (
        {"judge": {"needs": ["align"]}},
        ["spec.steps[0]: judge -> align -> bench -> score -> judge: wait for each other"],
    ),
    ({"bench": {"needs": ["bench"]}}, ["spec.steps[2]: bench -> bench: waits for itself"]),
    ({"bench": {"needs": ["none"]}}, ["spec.steps[2].needs[0]: there is no step none"]),
    ({"score": score(data=7)}, ["spec.steps[1].spec.score.data: must be a string"]),
    ({"score": score(data="x.jsonl")}, ["spec.steps[1].spec.score.data: must be s3://"]),
    ({"score": {"spec": {**SCORE, "colour": 1}}}, ["spec.steps[1].spec.colour: unknown field"]),
    ({"score": {"kind": "Pod"}}, ["spec.steps[1].kind: must be one of"]),
    ({"a--b": {"kind": "StepJob", "spec": SCORE}}, ["spec.steps[4].name: must be lower-case"]),
    (
        {"s" * 31: {"kind": "StepJob", "spec": SCORE}},
        ["spec.steps[4].name: is 1 characters too long"],
    ),
]


@pytest.mark.parametrize(("steps", "expected"), CASES)
def test_what_is_wrong_has_its_field(steps: dict[str, Any], expected: list[str]) -> None:
    found = problems(body(steps=steps))
    assert len(found) == len(expected), found
    for text, start in zip(found, expected, strict=True):
        assert text.startswith(start), found


def test_all_that_is_wrong_is_said_at_once() -> None:
    wrong: dict[str, dict[str, Any] | None] = {
        "judge": {"spec": {"model": 1}},
        "score": score(data="x.jsonl", seed=-1),
    }
    found = problems(body(steps=wrong))
    assert {text.split(":")[0] for text in found} == {
        "spec.steps[0].spec.model",
        "spec.steps[0].spec.data",
        "spec.steps[1].spec.score.data",
        "spec.steps[1].spec.score.seed",
    }


def test_two_steps_of_one_name_are_refused() -> None:
    given = body()
    given["spec"]["steps"].append(dict(given["spec"]["steps"][0]))
    assert problems(given) == ["spec.steps[4].name: judge is given twice"]


def test_where_nothing_says_where_to_write_it_is_asked_for() -> None:
    given = body(steps={"bench": None, "align": None, "score": None})
    del given["spec"]["artifacts"]
    assert problems(given) == ["spec.steps[0].spec.artifacts: is required"]


def test_a_value_of_a_parameter_is_judged_where_it_stands() -> None:
    given = body(parameters=[{"name": "epochs", "default": "many"}, {"name": "week", "default": 1}])
    assert problems(given) == [
        'spec.steps[0].spec.training.epochs: must be an integer (given: "many")'
    ]
    wrong = body(parameters=[{"name": "epochs", "default": [1]}, {"name": "week", "default": 1}])
    assert problems(wrong) == [
        "spec.parameters[0].default: must be a string, a number, true or false"
    ]


def test_the_longest_name_of_a_job_just_fits() -> None:
    longest = body(steps={"s" * 30: {"kind": "StepJob", "spec": SCORE}})
    parse_pipeline(Document(longest, {}), source="p", in_cluster=True)
    assert len(job_name("weekly" + "-" + "9" * 10, "s" * 30, 99)) == MAX_JOB_NAME


def test_a_retry_never_has_the_name_of_another_step() -> None:
    assert job_name("r", "a") == "r-a"
    assert job_name("r", "a", 1) == "r-a--1"
    assert problems(body(steps={"score--1": {"kind": "StepJob", "spec": SCORE}}))


def test_freezing_takes_known_parameters_alone() -> None:
    made = freeze(pipeline(), name="weekly-2", parameters={"epochs": 3}, cache=False)
    assert made["spec"]["parameters"][0] == {"name": "epochs", "value": 3}
    assert {step["cache"] for step in made["spec"]["steps"]} == {False}
    with pytest.raises(FieldError, match=r"no such parameter; it has: epochs, week"):
        freeze(pipeline(), name="weekly-2", parameters={"epoch": 3})


def test_a_frozen_run_belongs_to_its_pipeline() -> None:
    given = body()
    given["metadata"]["uid"] = "u-1"
    found = parse_pipeline(Document(given, {}), source="p", in_cluster=True)
    made = freeze(found, name="weekly-2")  # type: ignore[arg-type]
    (owner,) = made["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("AlignmentPipeline", "u-1", True)
    assert made["metadata"]["labels"] == {"mmrlhf.io/pipeline": "weekly"}
