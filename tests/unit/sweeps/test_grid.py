"""The points of a sweep, what is wrong with one, and what an API server holds of it."""

from __future__ import annotations

from typing import Any

import pytest

from mmrlhf_api import JobFileError
from mmrlhf_api.pipelines import SWEEP, parse_pipeline
from mmrlhf_api.schema import kind_schema
from mmrlhf_api.sweeps.grid import count_points, in_words, job_body, points_of
from mmrlhf_api.yamltree import Document
from tests.crd_checker.evaluation import broken
from tests.unit.sweeps.specimens import body, sweep, template

SCHEMA = kind_schema(SWEEP)["properties"]["spec"]
GRID = body()["spec"]["parameters"]
METRIC = "afterPreferenceAccuracy"


def test_the_grid_changes_its_last_field_fastest_and_points_beside_it_come_after() -> None:
    spec = sweep(points=[{"values": [{"field": "optimizer.learningRate", "value": 1e-6}]}]).spec
    found = points_of(spec)
    assert count_points(spec) == len(found) == 5
    assert [one.name for one in found] == ["00", "01", "02", "03", "04"]
    assert [in_words(one.values) for one in found] == [
        "objective.beta.w=0.25, training.seed=0",
        "objective.beta.w=0.25, training.seed=1",
        "objective.beta.w=0.5, training.seed=0",
        "objective.beta.w=0.5, training.seed=1",
        "optimizer.learningRate=1e-06",
    ]
    assert in_words(found[3].values, without=["training.seed"]) == "objective.beta.w=0.5"


def test_a_job_is_the_template_with_the_values_of_its_point() -> None:
    spec = sweep().spec
    made = job_body(spec, points_of(spec)[3], sweep="tune", namespace="vision")
    assert made["metadata"] == {"name": "tune-03", "namespace": "vision"}
    assert made["spec"]["objective"] == {"beta": {"w": 0.5}}
    assert made["spec"]["training"] == {"evaluateEverySteps": 10, "seed": 1}
    assert spec.template.spec["training"] == {"evaluateEverySteps": 10}


def points(*values: tuple[str, Any]) -> list[dict[str, Any]]:
    return [{"values": [{"field": field, "value": value} for field, value in values]}]


def grid(*parameters: tuple[str, list[Any]]) -> list[dict[str, Any]]:
    return [{"field": field, "values": values} for field, values in parameters]


WRONG: list[tuple[dict[str, Any], str]] = [
    (
        {"parameters": grid(("objective.beta.ww", [1]))},
        "spec.parameters[0].values[0]: objective.beta.ww: unknown field; did you mean w?",
    ),
    (
        {"parameters": grid(("objective.beta.w", [0.5, -1]))},
        "spec.parameters[0].values[1]: objective.beta.w: must be at least 0 (given: -1)",
    ),
    (
        {"points": points(("training.seed", "x"))},
        "spec.points[0].values[0].value: training.seed: must be an integer",
    ),
    (
        {"template": template(model=None)},
        "spec.template.spec.model: must be a mapping",
    ),
    (
        {"parameters": grid(("model.uri.x", [1]))},
        "spec.parameters: model.uri.x: spec.model.uri is not a mapping",
    ),
    (
        {"parameters": grid(("spec.training.seed", [1]))},
        "spec.parameters[0].field: is a path below template.spec: leave out spec. before it",
    ),
    (
        {"parameters": grid(("runPolicy.cancel", [True]))},
        "spec.parameters[0].field: is set by the sweep itself",
    ),
    (
        {"parameters": grid(("objective.beta", [1]), ("objective.beta.w", [1]))},
        "spec.parameters[1].field: lies within objective.beta or around it",
    ),
    (
        {"parameters": grid(("training.seed", list(range(9))), ("objective.sftWeight", [0.0] * 8))},
        "the grid of 9 x 8 are 72 points, and a sweep has at most 64",
    ),
    ({"parameters": grid(("training.epochs", [1, 2, 1]))}, "points 00 and 02 are the same"),
    ({"parameters": None}, "spec.parameters: give fields with values, or points"),
    (
        {"objective": {"metric": "afterAcc"}},
        "spec.objective.metric: is no held-out figure of a MMDPOJob; it has: afterPreferenceAcc",
    ),
    (
        {"template": template(data={"train": {"uri": "s3://x"}}, training={})},
        "spec.objective.metric: is a figure of held-out data, and template.spec.data.evaluation",
    ),
    (
        {"objective": {"metric": METRIC, "meanOver": ["training.sed"]}},
        "spec.objective.meanOver[0]: is no field of this sweep",
    ),
    (
        {"parameters": grid(("training.seed", [1, 2]))},
        "spec.objective.meanOver: has all fields of the sweep (training.seed)",
    ),
    (
        {"earlyStop": {"steps": [10, 15]}},
        "spec.earlyStop.steps[1]: is no multiple of template.spec.training.evaluateEverySteps (10)",
    ),
    ({"earlyStop": {"steps": [10, 10]}}, "spec.earlyStop.steps: must differ"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG, ids=[one[1][:40] for one in WRONG])
def test_what_is_wrong_is_said_once_with_its_place(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(JobFileError) as caught:
        sweep(**changes)
    (problem,) = caught.value.problems
    assert message in f"{problem.field}: {problem.message} (given: {problem.given})"


def test_a_name_that_leaves_no_room_for_numbers_is_too_long() -> None:
    found = body()
    found["metadata"]["name"] = "x" * 50
    with pytest.raises(JobFileError, match=r"metadata\.name: is 1 characters too long"):
        parse_pipeline(Document(found, {}), source="sweep")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ({}, {"suspend": True}, None),
        ({}, {"cancel": True}, None),
        ({}, {"parallelism": 1}, None),
        ({"cancel": True}, {"cancel": False}, "cancel cannot be taken back; create a new sweep"),
        ({}, {"objective": {"metric": "x"}}, "objective cannot change after the sweep was created"),
        ({}, {"parameters": GRID[:1]}, "parameters cannot change after the sweep was created"),
        ({}, {"parameters": None}, "parameters: give fields with values, or points"),
        ({}, {"earlyStop": {"steps": [3, 3]}}, "steps must differ"),
    ],
)
def test_a_server_holds_what_may_change(
    old: dict[str, Any], new: dict[str, Any], message: str | None
) -> None:
    defaults = {"suspend": False, "cancel": False}
    before, after = ({**body(**{**defaults, **one})["spec"]} for one in (old, new))
    found = [str(one[-1]) for one in broken(after, SCHEMA, "spec", old=before)]
    assert found == [] if message is None else any(message in one for one in found), found
