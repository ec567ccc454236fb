"""What may stand in the schedule of a pipeline: the types and the rules of the CRD say the same."""

from __future__ import annotations

from typing import Any

import pytest

from mmrlhf_api import JobFileError
from mmrlhf_api.pipelines import PIPELINE, parse_pipeline
from mmrlhf_api.pipelines.aliases import moved_aliases
from mmrlhf_api.schema import kind_schema
from mmrlhf_api.yamltree import Document
from tests.crd_checker.evaluation import broken
from tests.crd_checker.values import problems
from tests.unit.api.test_schema import apply_defaults
from tests.unit.pipelines.specimens import body, pipeline

SCHEMA = kind_schema(PIPELINE)["properties"]["spec"]
S3 = {"uri": "s3://b/new"}
NEW_DATA = {"triggers": {"newData": S3}}

GOOD: list[dict[str, Any]] = [
    {"cron": "0 3 * * 1"},
    {"cron": "@daily", "timeZone": "Europe/Berlin", "jitterSeconds": 3600},
    {"cron": "*/5 * * * *", "jitterSeconds": 299, "startingDeadlineSeconds": 60},
    {"cron": "0 0 29 feb ?", "concurrencyPolicy": "Replace", "skipUnchanged": True},
    NEW_DATA,
    {"triggers": {"newRankings": {**S3, "atLeast": 1, "settleSeconds": 0}}, "cron": "0 3 * * *"},
]

# A schedule, the field at fault, what the types say of it, and what the API server does; None where
# only the types can tell.
BAD: list[tuple[dict[str, Any], str, str, str | None]] = [
    (
        {},
        "",
        "give cron, triggers or both",
        "give cron, triggers or both; without a schedule, runs start by hand alone",
    ),
    ({"cron": "0 3 * *"}, ".cron", "must have five fields", "must have five fields, minute"),
    ({"cron": "0 25 * * *"}, ".cron", "hour: 25 is not within 0 to 23", "must have five fields, "),
    ({"cron": "0 3 * * 7"}, ".cron", "Sunday is 0", "must have five fields, minute"),
    ({"cron": "0 0 31 2 *"}, ".cron", "never fires", "never fires: that month has no such day"),
    ({"cron": "0 0 31 2-2 *"}, ".cron", "never fires", None),
    ({"cron": "0 0 1 Foo *"}, ".cron", "month: Foo is no number or a name", None),
    ({"cron": "0 5-1 * * *"}, ".cron", "hour: 5-1 ends before it begins", None),
    (
        {"cron": "0 3 * * *", "timeZone": "Europe/Berln"},
        ".timeZone",
        "there is no time zone Europe/Berln",
        None,
    ),
    ({**NEW_DATA, "timeZone": "Etc/UTC"}, ".timeZone", "needs cron", "timeZone needs cron"),
    ({**NEW_DATA, "jitterSeconds": 5}, ".jitterSeconds", "needs cron", "jitterSeconds needs cron"),
    (
        {**NEW_DATA, "startingDeadlineSeconds": 5},
        ".startingDeadlineSeconds",
        "needs cron",
        "startingDeadlineSeconds needs cron",
    ),
    (
        {**NEW_DATA, "skipUnchanged": True},
        ".skipUnchanged",
        "needs cron",
        "skipUnchanged needs cron",
    ),
    (
        {"cron": "*/5 * * * *", "jitterSeconds": 300},
        ".jitterSeconds",
        "must be below 300, the shortest time between two runs in seconds",
        None,
    ),
    (
        {"triggers": {}},
        ".triggers",
        "give newData, newRankings or both",
        "give newData, newRankings or both",
    ),
    (
        {"triggers": {"newData": {"uri": "/data"}}},
        ".triggers.newData.uri",
        "must be s3://bucket/prefix",
        "uri must be s3://bucket/prefix: the operator sees no path of the pods",
    ),
    (
        {"triggers": {"newRankings": {"uri": "/data", "atLeast": 5}}},
        ".triggers.newRankings.uri",
        "must be s3://bucket/prefix",
        "uri must be s3://bucket/prefix: the operator sees no path of the pods",
    ),
]


def refused(schedule: dict[str, Any], **spec: Any) -> list[str]:
    """What the API server says of a pipeline with a schedule."""
    given = body(schedule=schedule, **spec)["spec"]
    apply_defaults(given, SCHEMA)
    assert not list(problems(given, SCHEMA, "spec"))
    return [str(one[-1]) for one in broken(given, SCHEMA, "spec", old=None)]


@pytest.mark.parametrize("schedule", GOOD)
def test_what_is_right_is_taken(schedule: dict[str, Any]) -> None:
    assert refused(schedule) == []
    assert pipeline(schedule=schedule).spec.schedule is not None


@pytest.mark.parametrize(("schedule", "field", "message", "server"), BAD)
def test_what_is_wrong_is_said_with_its_field(
    schedule: dict[str, Any], field: str, message: str, server: str | None
) -> None:
    with pytest.raises(JobFileError) as caught:
        parse_pipeline(Document(body(schedule=schedule), {}), source="x", in_cluster=True)
    (problem,) = caught.value.problems
    assert problem.field == f"spec.schedule{field}"
    assert message in problem.message
    found = refused(schedule)
    if server is None:
        assert found == []
    else:
        (said,) = found
        assert said.startswith(server)


def test_triggers_need_the_store_that_they_look_into() -> None:
    message = "artifacts: schedule.triggers look into the store that it names; give it"
    given = body(schedule=NEW_DATA)
    del given["spec"]["artifacts"]
    for step in given["spec"]["steps"]:
        step["spec"]["artifacts"] = {"uri": "s3://runs"}
    with pytest.raises(JobFileError, match="look into the store that it names"):
        parse_pipeline(Document(given, {}), source="x", in_cluster=True)
    apply_defaults(given["spec"], SCHEMA)
    found = [str(one[-1]) for one in broken(given["spec"], SCHEMA, "spec", old=None)]
    assert found == [message]


def test_defaults_are_those_of_a_careful_person() -> None:
    schedule = pipeline(schedule={"cron": "0 3 * * *"}).spec.schedule
    assert schedule is not None
    assert schedule.where.key == "Etc/UTC"
    assert schedule.concurrency_policy == "Forbid"
    assert (schedule.successful_runs_history_limit, schedule.failed_runs_history_limit) == (3, 1)
    assert not schedule.skip_unchanged


def test_aliases_count_with_their_store() -> None:
    def gate(**part: Any) -> Any:
        spec = {"step": "gate", "gate": {"artifact": "${steps.judge.model}", **part}}
        found = body()
        found["spec"]["steps"].append({"name": "gate", "kind": "StepJob", "spec": spec})
        # Without the rules of the step, which are no business of this one.
        return moved_aliases(type(pipeline()).model_validate(found, by_alias=True, by_name=False))

    assert moved_aliases(pipeline()) == frozenset()
    assert gate() == frozenset()
    assert gate(alias="default/vqa") == {("s3://runs", "default/vqa")}
    assert gate(alias="w${parameters.week}", store="s3://x/") == {("s3://x", "w2026-48")}
