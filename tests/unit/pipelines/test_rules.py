"""What an API server holds of runs, by the rules of the CRD."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from mmrlhf_api.pipelines import PIPELINE, RUN
from mmrlhf_api.schema import kind_schema
from tests.crd_checker.evaluation import broken
from tests.unit.pipelines.specimens import body, run

SCHEMA = kind_schema(RUN)["properties"]["spec"]


def spec(**changes: Any) -> dict[str, Any]:
    found = run().spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {**copy.deepcopy(found), **changes}


def messages(new: dict[str, Any], old: dict[str, Any]) -> list[str]:
    return [str(one[-1]) for one in broken(new, SCHEMA, "spec", old=old)]


@pytest.mark.parametrize(
    "changes", [{"suspend": True}, {"cancel": True}, {"retry": 1}], ids=lambda one: next(iter(one))
)
def test_what_may_change_may(changes: dict[str, Any]) -> None:
    assert messages(spec(**changes), spec()) == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ({"cancel": True}, {}, "cancel cannot be taken back; create a new run"),
        ({"retry": 2}, {"retry": 1}, "retry cannot be lowered; raise it to retry once more"),
        ({}, {"steps": spec()["steps"][:2]}, "steps cannot change after the run was created"),
        ({}, {"parameters": []}, "parameters cannot change after the run was created"),
        ({}, {"pipeline": "other"}, "pipeline cannot change after the run was created"),
        ({}, {"artifacts": {"uri": "s3://x"}}, "artifacts cannot change after the run was created"),
    ],
)
def test_the_rest_stays_as_it_was(old: dict[str, Any], new: dict[str, Any], message: str) -> None:
    (found,) = messages(spec(**new), spec(**old))
    assert message in found


def test_a_pipeline_may_change_in_all_its_parts() -> None:
    schema = kind_schema(PIPELINE)["properties"]["spec"]
    old = body()["spec"]
    new = body(steps={"align": None}, parameters=[], artifacts={"uri": "s3://x"})["spec"]
    assert list(broken(new, schema, "spec", old=old)) == []
