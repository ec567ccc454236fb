"""A step's digest changes with its inputs, spec and image, and with nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from mmrlhf_api.pipelines.identity import read_inputs, step_job, step_key
from tests.unit.pipelines.specimens import STEPS, run

JUDGE = STEPS["judge"]["spec"]


def key(
    name: str = "judge",
    *,
    image: str = "train:1",
    keys: Mapping[str, str] | None = None,
    inputs: Mapping[str, str] | None = None,
    **changes: Any,
) -> str:
    made = run(**changes)
    step = next(one for one in made.spec.steps if one.name == name)
    job = step_job(
        step,
        artifacts=made.spec.artifacts,
        parameters={one.name: one.value for one in made.spec.parameters},
        keys=keys or {"judge": "k1", "score": "k2"},
    )
    seen = dict.fromkeys(read_inputs(job), "d1") if inputs is None else inputs
    return step_key(job, image=job.spec.image or image, inputs=seen)


def spec(**changes: Any) -> dict[str, Any]:
    return {"steps": {"judge": {"spec": {**JUDGE, **changes}}}}


@pytest.mark.parametrize(
    "changes",
    [
        spec(training={"epochs": 2}),
        spec(optimizer={"learningRate": 1e-4}),
        spec(image="train:2"),
        spec(podTemplate={"env": [{"name": "A", "value": "1"}]}),
        spec(model={"uri": "s3://models/other"}),
        {"parameters": [{"name": "epochs", "default": 1}, {"name": "week", "default": "2026-49"}]},
        {"image": "train:2"},
        {"inputs": {"model.uri": "d1", "data.train.uri": "d2"}},
    ],
    ids=str,
)
def test_what_may_change_the_result_changes_it(changes: dict[str, Any]) -> None:
    assert key(**changes) != key()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        spec(resources={"nodes": 2, "cpu": "4"}),
        spec(runPolicy={"maxRestarts": 9}),
        spec(nodePool="h800"),
        spec(tracking={"tags": {"a": "b"}}),
        {
            "parameters": [
                {"name": "epochs", "default": 1},
                {"name": "week", "default": "2026-48"},
                {"name": "unused", "default": 5},
            ]
        },
    ],
    ids=str,
)
def test_what_no_result_depends_on_leaves_it(changes: dict[str, Any]) -> None:
    assert key(**changes) == key()


def test_what_it_takes_counts_by_the_digest_of_the_step_that_makes_it() -> None:
    assert key("score") == key("score", keys={"judge": "k1"})
    assert key("score") != key("score", keys={"judge": "k3"})
    assert key("align") != key("align", keys={"judge": "k3"})


def test_inputs_are_what_no_step_makes() -> None:
    made = run()
    step = made.spec.steps[1]
    job = step_job(step, artifacts=made.spec.artifacts, parameters={}, keys={"judge": "k"})
    assert read_inputs(job) == {"score.data": "s3://data/bench.jsonl"}


def test_a_digest_of_a_step_that_has_none_is_asked_for_by_name() -> None:
    made = run()
    with pytest.raises(KeyError, match="judge"):
        step_job(made.spec.steps[1], artifacts=made.spec.artifacts, parameters={}, keys={})
