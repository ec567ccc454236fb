"""``cron`` against a real API server."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.remote.conftest import Ctl
from tests.unit.pipelines.specimens import body

pytestmark = pytest.mark.cluster

PIPELINES = "/apis/mmrlhf.io/v1alpha1/namespaces/{}/alignmentpipelines"
RUNS = "/apis/mmrlhf.io/v1alpha1/namespaces/{}/alignmentruns"


def create(ctl: Ctl, name: str = "weekly", **spec: Any) -> dict[str, Any]:
    return ctl.cluster.api.create(PIPELINES.format(ctl.namespace), body(name=name, **spec))


def runs(ctl: Ctl) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ctl.cluster.api.get(RUNS.format(ctl.namespace))["items"]
    return found


def test_pipelines_are_listed_with_what_is_in_their_way(ctl: Ctl) -> None:
    none = ctl("cron", "list")
    assert (none.returncode, none.stdout) == (0, "")
    assert "no pipelines found in namespace" in none.stderr
    schedule = {
        "cron": "0 3 * * 1",
        "timeZone": "Europe/Berlin",
        "triggers": {"newRankings": {"uri": "s3://b/r", "atLeast": 500}},
    }
    create(ctl, schedule=schedule)
    create(ctl, "by-hand")
    path = f"{PIPELINES.format(ctl.namespace)}/weekly/status"
    wait = {
        "type": "OnSchedule",
        "status": "False",
        "reason": "StillRunning",
        "message": "waits for the end of weekly-7",
        "lastTransitionTime": "2026-11-23T12:00:00Z",
    }
    status = {
        "conditions": [wait],
        "schedule": {
            "nextScheduleTime": "2066-01-01T00:00:00Z",
            "active": ["weekly-7"],
            "lastRun": {"name": "weekly-7", "time": "2026-01-01T00:00:00Z", "cause": "Cron"},
        },
    }
    ctl.cluster.api.patch(path, {"status": status})
    shown = ctl("cron", "list")
    assert shown.returncode == 0
    header, first, second = shown.stdout.splitlines()
    assert header.split()[:5] == ["NAME", "SCHEDULE", "STATE", "NEXT", "LAST"]
    assert first.split("   ")[:1] == ["by-hand"]
    assert "by hand" in first
    for words in (
        "0 3 * * 1 Europe/Berlin, 500 new rankings",
        "StillRunning",
        "in ",
        "weekly-7",
        "waits for the end of weekly-7",
    ):
        assert words in second
    everywhere = ctl("cron", "list", "-A", "-o", "json")
    names = {one["metadata"]["name"] for one in json.loads(everywhere.stdout)["items"]}
    assert {"weekly", "by-hand"} <= names


def test_a_run_is_started_by_hand_and_belongs_to_its_pipeline(ctl: Ctl) -> None:
    uid = create(ctl, schedule={"cron": "0 3 * * 1"}, suspend=True)["metadata"]["uid"]
    done = ctl("cron", "trigger", "weekly", "--parameter", "epochs=3", "--no-cache")
    (run,) = runs(ctl)
    name = run["metadata"]["name"]
    assert (done.returncode, done.stdout) == (0, f"alignmentrun.mmrlhf.io/{name} started\n")
    assert name.startswith("weekly-m")
    assert len(name) == len("weekly-mxxxxx")
    (owner,) = run["metadata"]["ownerReferences"]
    assert (owner["uid"], owner["controller"]) == (uid, True)
    assert run["spec"]["pipeline"] == "weekly"
    values = {one["name"]: one["value"] for one in run["spec"]["parameters"]}
    assert values == {"epochs": 3, "week": "2026-48"}
    assert {step["cache"] for step in run["spec"]["steps"]} == {False}
    assert ctl("cron", "trigger", "weekly", "--name", "weekly-now").returncode == 0
    for words, code, message in (
        (["weekly", "--name", "weekly-now"], 2, "there is a run weekly-now already"),
        (["weekly", "--parameter", "epoch=3"], 2, "weekly has no such parameter; it has: epochs"),
        (["weekly", "--parameter", "epochs"], 2, "--parameter epochs: must be NAME=VALUE"),
        (["nowhere"], 3, "nowhere"),
    ):
        refused = ctl("cron", "trigger", *words)
        assert (refused.returncode, refused.stdout) == (code, "")
        assert message in refused.stderr
    assert len(runs(ctl)) == 2


def test_a_pipeline_that_is_not_valid_is_told_when_it_is_triggered(ctl: Ctl) -> None:
    create(ctl, schedule={"cron": "0 3 * * 1", "timeZone": "Europe/Berln"})
    refused = ctl("cron", "trigger", "weekly")
    assert refused.returncode == 2
    assert "pipeline weekly is not valid" in refused.stderr
    assert "spec.schedule.timeZone: there is no time zone Europe/Berln" in refused.stderr
    assert runs(ctl) == []


def test_schedules_are_suspended_and_resumed(ctl: Ctl) -> None:
    create(ctl, schedule={"cron": "0 3 * * 1"})

    def suspended() -> bool:
        there = ctl.cluster.api.get(f"{PIPELINES.format(ctl.namespace)}/weekly")
        return bool(there["spec"].get("suspend"))

    done = ctl("cron", "suspend", "weekly")
    assert done.stdout == "alignmentpipeline.mmrlhf.io/weekly suspended\n"
    assert suspended()
    again = ctl("cron", "suspend", "weekly")
    assert (again.returncode, again.stdout) == (0, "")
    assert "is suspended already" in again.stderr
    assert ctl("cron", "resume", "weekly").stdout.endswith("weekly resumed\n")
    assert not suspended()
    missing = ctl("cron", "suspend", "weekly", "nowhere")
    assert missing.returncode == 3
    assert not suspended(), "all or none"


@pytest.mark.parametrize("word", ["trigger", "suspend", "resume"])
def test_a_pipeline_that_is_not_there_is_said_not_to_be(ctl: Ctl, word: str) -> None:
    done = ctl("cron", word, "nothing")
    where = f"in namespace {ctl.namespace}"
    assert done.stderr == f"error: there is no AlignmentPipeline nothing {where}\n"
    assert (done.returncode, done.stdout) == (3, "")
