"""What is done about a run, as a pure function: one table, and what holds whatever happens."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mmrlhf_api import OutputStatus
from mmrlhf_api.pipelines.phases import StepPhase
from mmrlhf_api.pipelines.types import AlignmentRunStatus, CachedFrom, PipelineStep, StepStatus
from mmrlhf_api.tracing import ANNOTATION_TRACEPARENT, handed_on
from mmrlhf_operator.planning.run_actions import (
    CreateJob,
    LookForRecord,
    LookUpInputs,
    PatchJob,
    RunPlan,
)
from mmrlhf_operator.planning.runs import plan_run
from mmrlhf_operator.state.runs import (
    ANNOTATION_SUSPENDED,
    ChildView,
    RunObserved,
    RunView,
    SeenInputs,
)
from mmrlhf_operator.state.views import Finding
from tests.unit.pipelines.specimens import run

NOW = datetime(2026, 11, 29, 8, 0, tzinfo=UTC)
IMAGES = {"StepJob": "steps:1", "RewardTrainJob": "train:1", "MMDPOJob": "train:1"}
OUTPUTS = {
    "judge": OutputStatus(name="model", content="model", uri="s3://runs/judge/model"),
    "score": OutputStatus(name="scores", content="scores", uri="s3://runs/score/scores.parquet"),
    "bench": OutputStatus(name="figures", content="figures", uri="s3://runs/bench/bench.json"),
    "align": OutputStatus(name="model", content="model", uri="s3://runs/align/model"),
}


def view(status: AlignmentRunStatus | None = None, **changes: Any) -> RunView:
    made = run()
    spec = made.spec.model_copy(update={"pipeline": None, **changes})
    return RunView(
        namespace="default",
        name="weekly-1",
        uid="run-1",
        generation=1,
        resource_version="7",
        deleting=False,
        problem=None,
        run=made.model_copy(update={"spec": spec}),
        suspend=spec.suspend,
        cancel=spec.cancel,
        status=status or AlignmentRunStatus(),
    )


def child(step: str, phase: str | None = "Running", **fields: Any) -> ChildView:
    name = fields.pop("name", f"weekly-1-{step}")
    done = phase == "Succeeded"
    return ChildView(
        **{
            "name": name,
            "uid": f"uid-{name}",
            "owner": "run-1",
            "phase": phase,
            "reason": {"Succeeded": "Completed", "Failed": "InvalidInput"}.get(phase or "", ""),
            "outputs": (OUTPUTS[step],) if done else (),
            "manifest": f"s3://runs/{step}/manifest.json" if done else None,
            **fields,
        }
    )


def plan(one: RunView, *children: ChildView, **observed: Any) -> RunPlan:
    found = {entry.name.removeprefix("weekly-1-").split("--")[0]: entry for entry in children}
    seen = RunObserved(children=found, **observed)
    return plan_run(one, seen, now=NOW, images=IMAGES)


def after(made: RunPlan, one: RunView) -> RunView:
    return replace(one, status=made.status)


def phases(made: RunPlan) -> str:
    return " ".join(step.phase.value for step in made.status.steps)


def created(made: RunPlan) -> list[str]:
    return [
        action.manifest["metadata"]["name"]
        for action in made.actions
        if isinstance(action, CreateJob)
    ]


def conditions(made: RunPlan) -> dict[str, str]:
    return {one.type: one.status for one in made.status.conditions}


def test_first_what_waits_for_nothing_is_made() -> None:
    made = plan(view())
    assert phases(made) == "Starting Waiting Waiting Waiting"
    assert created(made) == ["weekly-1-judge"]
    (action,) = made.actions
    assert isinstance(action, CreateJob)
    metadata = action.manifest["metadata"]
    assert metadata["labels"] == {
        "app.kubernetes.io/managed-by": "mmrlhf-operator",
        "mmrlhf.io/run": "weekly-1",
        "mmrlhf.io/step": "judge",
    }
    (owner,) = metadata["ownerReferences"]
    assert (owner["uid"], owner["controller"], owner["blockOwnerDeletion"]) == ("run-1", True, True)
    assert action.manifest["spec"]["training"] == {"epochs": 1}
    assert made.status.summary == "0/4"
    assert made.status.running == "judge"


def test_jobs_are_in_the_trace_that_their_run_was_submitted_in() -> None:
    one = view()
    assert one.run is not None
    told = {ANNOTATION_TRACEPARENT: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
    metadata = one.run.metadata.model_copy(update={"annotations": told})
    traced = replace(one, run=one.run.model_copy(update={"metadata": metadata}))
    for each, noted in ((traced, handed_on(told, "run-1")), (one, None)):
        (action,) = plan(each).actions
        assert isinstance(action, CreateJob)
        assert action.manifest["metadata"].get("annotations") == noted


def test_what_takes_from_others_is_made_with_what_they_left() -> None:
    first = plan(view())
    second = plan(after(first, view()), child("judge", "Succeeded"))
    assert phases(second) == "Succeeded Starting Waiting Waiting"
    (action,) = second.actions
    assert isinstance(action, CreateJob)
    assert action.manifest["spec"]["score"]["model"] == "s3://runs/judge/model"
    assert action.manifest["spec"]["artifacts"] == {"uri": "s3://runs"}


def test_all_that_is_independent_of_a_failure_goes_on() -> None:
    status = plan(view()).status
    made = plan(
        after(plan(after(plan(view()), view()), child("judge", "Succeeded")), view()),
        child("judge", "Succeeded"),
        child("score", "Failed", message="row 3"),
    )
    assert phases(made) == "Succeeded Failed Skipped Skipped"
    assert made.status.phase == "Failed"
    assert made.status.message == (
        "step score has failed (InvalidInput): StepJob weekly-1-score has failed: row 3"
    )
    assert created(made) == []
    assert status.completion_time is None
    assert made.status.completion_time == NOW


def failed() -> RunView:
    one = after(plan(after(plan(view()), view()), child("judge", "Succeeded")), view())
    return after(plan(one, child("score", "Failed")), one)


def test_a_retry_goes_on_from_what_failed_under_another_name() -> None:
    one = failed()
    again = view(one.status, retry=1)
    made = plan(again, child("score", "Failed"))
    assert phases(made) == "Succeeded Starting Waiting Waiting"
    assert created(made) == ["weekly-1-score--1"]
    assert made.status.retried == 1
    assert made.status.completion_time is None
    assert conditions(made)["Failed"] == "False"
    settled = plan(after(made, again), child("score", "Running", name="weekly-1-score--1"))
    assert phases(settled) == "Succeeded Running Waiting Waiting"
    assert created(settled) == []


def test_a_plan_that_was_carried_out_asks_for_nothing() -> None:
    one = view()
    made = plan(one)
    one = after(made, one)
    again = plan(one, child("judge"))
    one = after(again, one)
    last = plan(one, child("judge"))
    assert last.status == one.status
    assert last.actions == ()


def test_a_job_of_that_name_that_is_not_its_own_is_never_taken() -> None:
    one = after(plan(view()), view())
    made = plan(one, child("judge", "Succeeded", owner="somebody"))
    assert phases(made) == "Starting Waiting Waiting Waiting"
    assert conditions(made)["Blocked"] == "True"
    assert made.status.steps[0].uid is None
    assert "does not belong to this run" in (made.status.message or "")
    assert made.actions == ()
    assert made.requeue_after


def test_what_the_server_refuses_is_told_and_tried_again() -> None:
    one = after(plan(view()), view())
    finding = Finding(reason="CreationRefused", message="quota exceeded")
    made = plan(one, conflicts={"judge": finding})
    assert made.status.reason == "CreationRefused"
    assert made.status.message == "step judge: quota exceeded"
    assert created(made) == ["weekly-1-judge"]
    assert made.requeue_after


def test_a_job_that_was_seen_and_is_gone_has_failed() -> None:
    one = after(plan(after(plan(view()), view()), child("judge")), view())
    made = plan(one)
    assert made.status.steps[0].reason == "JobDeleted"
    assert created(made) == []


@pytest.mark.parametrize(
    ("spec", "job", "expected"),
    [
        ({"suspend": True}, {}, {"suspend": True}),
        ({"suspend": True}, {"suspend": True}, None),
        ({}, {"suspend": True, "suspended_by": "run-1"}, {"suspend": False}),
        ({}, {"suspend": True}, None),
        ({}, {"suspend": True, "suspended_by": "another"}, None),
        ({"cancel": True}, {}, {"cancel": True}),
        ({"cancel": True, "suspend": True}, {"suspend": True}, {"cancel": True}),
        ({"cancel": True}, {"cancel": True}, None),
        ({"suspend": True}, {"phase": "Succeeded"}, None),
        ({"cancel": True}, {"owner": "somebody"}, None),
    ],
)
def test_jobs_are_stopped_and_go_on_with_their_run(
    spec: dict[str, Any], job: dict[str, Any], expected: dict[str, bool] | None
) -> None:
    one = after(plan(after(plan(view()), view()), child("judge")), view(**spec))
    made = plan(view(one.status, **spec), child("judge", **job))
    patches = [action for action in made.actions if isinstance(action, PatchJob)]
    assert [dict(action.policy) for action in patches] == ([] if expected is None else [expected])
    if expected == {"suspend": True}:
        assert patches[0].annotations == {ANNOTATION_SUSPENDED: "run-1"}
    if expected == {"suspend": False}:
        assert patches[0].annotations == {ANNOTATION_SUSPENDED: None}


def test_a_run_that_is_suspended_from_the_start_makes_nothing() -> None:
    made = plan(view(suspend=True))
    assert made.status.phase == "Suspended"
    assert made.actions == ()
    assert conditions(made)["Suspended"] == "True"
    assert conditions(made)["Reconciling"] == "False"


def test_a_cancelled_run_ends_when_its_jobs_have() -> None:
    one = after(plan(after(plan(view()), view()), child("judge")), view())
    stopping = plan(view(one.status, cancel=True), child("judge"))
    assert (stopping.status.phase, stopping.status.reason) == ("Running", "Stopping")
    assert phases(stopping) == "Running Skipped Skipped Skipped"
    ended = plan(
        view(stopping.status, cancel=True, retry=1), child("judge", "Failed", reason="Cancelled")
    )
    assert (ended.status.phase, ended.status.reason) == ("Failed", "Cancelled")


def test_an_invalid_run_has_failed_before_it_began() -> None:
    one = replace(view(), run=None, problem="spec.steps[0].spec: no")
    made = plan(one)
    assert (made.status.phase, made.status.reason) == ("Failed", "InvalidSpec")
    assert conditions(made) == {
        "Accepted": "False",
        "Failed": "True",
        "Stalled": "True",
        "Ready": "False",
        "Reconciling": "False",
    }
    assert plan(after(made, one)).status == made.status


def test_a_run_that_is_deleted_is_left_to_the_garbage_collector() -> None:
    made = plan(replace(view(cancel=True), deleting=True), child("judge"))
    assert made.actions == ()


SEEN = SeenInputs(digests={"model.uri": "a", "data.train.uri": "b"})


def earlier(key: str | None, **fields: Any) -> StepStatus:
    return StepStatus(
        **{
            "name": "judge",
            "kind": "RewardTrainJob",
            "phase": StepPhase.SUCCEEDED,
            "job": "weekly-0-judge",
            "key": key,
            "manifest": "s3://runs/old/manifest.json",
            "outputs": (OUTPUTS["judge"],),
            **fields,
        }
    )


def cached(*found: StepStatus, **observed: Any) -> RunPlan:
    return plan(
        view(pipeline="weekly"),
        inputs={"judge": SEEN},
        earlier=tuple(("weekly-0", one) for one in found),
        **observed,
    )


def key_of_judge() -> str:
    key = cached().status.steps[0].key
    assert key is not None
    return key


def test_what_a_step_reads_is_looked_up_before_it_is_decided_about() -> None:
    made = plan(view(pipeline="weekly"))
    assert phases(made) == "Waiting Waiting Waiting Waiting"
    (look,) = made.actions
    assert isinstance(look, LookUpInputs)
    assert dict(look.uris) == {
        "model.uri": "s3://models/base",
        "data.train.uri": "s3://data/2026-48/train",
    }


def test_a_result_is_taken_once_its_record_was_seen() -> None:
    key = key_of_judge()
    asks = cached(earlier(key))
    (look,) = asks.actions
    assert isinstance(look, LookForRecord)
    assert look.uri == "s3://runs/old/manifest.json"
    made = cached(earlier(key), held={"s3://runs/old/manifest.json": True})
    judge = made.status.steps[0]
    assert judge.phase is StepPhase.SUCCEEDED
    assert judge.reason == "Cached"
    assert judge.cached_from == CachedFrom(
        run="weekly-0", job="weekly-0-judge", manifest="s3://runs/old/manifest.json"
    )
    assert judge.outputs == (OUTPUTS["judge"],)
    assert created(made) == []


def test_one_that_was_taken_itself_names_where_it_was_made() -> None:
    origin = CachedFrom(run="weekly-00", job="j", manifest="s3://runs/old/manifest.json")
    found = earlier(key_of_judge(), cached_from=origin, job=None)
    made = cached(found, held={"s3://runs/old/manifest.json": True})
    assert made.status.steps[0].cached_from == origin


@pytest.mark.parametrize(
    "changes",
    [
        {"key": "other"},
        {"key": None},
        {"phase": StepPhase.FAILED},
        {"phase": StepPhase.RUNNING},
        {"manifest": None},
        {"name": "score"},
    ],
    ids=str,
)
def test_what_is_not_the_same_is_made_anew(changes: dict[str, Any]) -> None:
    found = earlier(**{"key": key_of_judge(), **changes})
    made = cached(found, held={"s3://runs/old/manifest.json": True})
    assert created(made) == ["weekly-1-judge"]
    assert made.status.steps[0].key == key_of_judge()


def test_one_whose_record_is_gone_is_made_anew_and_an_older_one_may_do() -> None:
    key = key_of_judge()
    gone = cached(earlier(key), held={"s3://runs/old/manifest.json": False})
    assert created(gone) == ["weekly-1-judge"]
    older = earlier(key, manifest="s3://runs/older/manifest.json")
    made = cached(
        earlier(key),
        older,
        held={"s3://runs/old/manifest.json": False, "s3://runs/older/manifest.json": True},
    )
    assert made.status.steps[0].manifest == "s3://runs/older/manifest.json"


def test_what_cannot_be_compared_is_made_anew_and_says_why() -> None:
    made = plan(
        view(pipeline="weekly"),
        inputs={"judge": SeenInputs(digests=None, why="model.uri: /m is not in an object store")},
    )
    judge = made.status.steps[0]
    assert judge.key is None
    assert "not in an object store" in (judge.message or "")
    assert created(made) == ["weekly-1-judge"]
    one = view(made.status, pipeline="weekly")
    second = plan(one, child("judge", "Succeeded"))
    assert "nobody knows whether what judge makes is the same" in (
        second.status.steps[1].message or ""
    )
    assert created(second) == ["weekly-1-score"]


def test_other_inputs_another_image_or_no_cache_make_it_anew() -> None:
    base = key_of_judge()
    other = SeenInputs(digests={"model.uri": "a", "data.train.uri": "c"})
    assert plan(view(pipeline="weekly"), inputs={"judge": other}).status.steps[0].key != base
    made = plan_run(
        view(pipeline="weekly"),
        RunObserved(inputs={"judge": SEEN}),
        now=NOW,
        images={**IMAGES, "RewardTrainJob": "train:2"},
    )
    assert made.status.steps[0].key not in {base, None}
    steps = tuple(one.model_copy(update={"cache": False}) for one in run().spec.steps)
    off = plan(view(pipeline="weekly", steps=steps))
    assert created(off) == ["weekly-1-judge"]


def test_what_changes_a_store_is_never_taken_from_an_earlier_run() -> None:
    step = {"name": "prune", "kind": "StepJob", "spec": {"step": "prune", "prune": {}}}
    made = plan(view(pipeline="weekly", steps=(PipelineStep.model_validate(step, by_alias=True),)))
    assert (created(made), made.status.steps[0].key) == (["weekly-1-prune"], None)


# kstatus (kubernetes-sigs/cli-utils, pkg/kstatus/status/core.go and generic.go): first whether the
# object was observed, then Reconciling and Stalled, then Ready.
def kstatus(made: RunPlan, generation: int) -> str:
    if made.status.observed_generation != generation:
        return "InProgress"
    found = conditions(made)
    if found.get("Reconciling") == "True":
        return "InProgress"
    if found.get("Stalled") == "True":
        return "Failed"
    return "Current" if found.get("Ready", "True") == "True" else "InProgress"


def test_kstatus_sees_a_run_as_it_is() -> None:
    made = plan(view())
    assert kstatus(made, 1) == "InProgress"
    assert kstatus(made, 2) == "InProgress"
    assert kstatus(plan(view(suspend=True)), 1) == "InProgress"
    one = failed()
    assert kstatus(RunPlan(status=one.status), 1) == "Failed"
    assert kstatus(plan(view(one.status, retry=1), child("score", "Failed")), 1) == "InProgress"
    done = one.status.model_copy(
        update={
            "steps": tuple(
                step.model_copy(update={"phase": StepPhase.SUCCEEDED}) for step in one.status.steps
            )
        }
    )
    assert kstatus(plan(view(done)), 1) == "Current"


@pytest.mark.parametrize("seed", range(12))
def test_whatever_happens_no_step_is_made_twice_and_the_run_ends(seed: int) -> None:
    """A run among jobs that fail, operators that forget what they wrote, and views that are old."""
    chance = random.Random(seed)
    one, retry = view(), 0
    jobs: dict[str, ChildView] = {}
    made_of: dict[str, int] = {}
    moment = NOW
    for _ in range(400):
        moment += timedelta(seconds=1)
        spec = {"retry": retry, "suspend": chance.random() < 0.1}
        one = view(one.status, **spec)
        latest = {status.name: status.job for status in one.status.steps}
        seen = {step: jobs[name] for step, name in latest.items() if name in jobs}
        if chance.random() < 0.2:  # a watch that is late; what was seen before is asked for
            seen = {
                step: job
                for step, job in seen.items()
                if any(s.name == step and s.uid is not None for s in one.status.steps)
            }
        made = plan_run(one, RunObserved(children=seen), now=moment, images=IMAGES)
        if chance.random() < 0.2:
            continue  # it died before it wrote
        one = view(made.status, **spec)
        if chance.random() < 0.2:
            continue  # or right after
        for action in made.actions:
            if isinstance(action, CreateJob):
                name = action.manifest["metadata"]["name"]
                if name not in jobs:  # the server refuses the second of a name
                    jobs[name] = child(action.step, "Running", name=name)
                    made_of[action.step] = made_of.get(action.step, 0) + 1
            elif isinstance(action, PatchJob):
                on = action.policy["suspend"]
                jobs[action.name] = replace(
                    jobs[action.name], suspend=on, suspended_by="run-1" if on else None
                )
        running = [job for job in jobs.values() if job.phase == "Running" and not job.suspend]
        if running and chance.random() < 0.5:
            job = chance.choice(running)
            step = next(s.name for s in one.status.steps if s.job == job.name)
            end = "Failed" if chance.random() < 0.2 and retry < 20 else "Succeeded"
            jobs[job.name] = child(step, end, name=job.name, suspend=job.suspend)
        if one.status.phase == "Failed":
            retry += 1
        if one.status.phase == "Succeeded":
            break
    assert one.status.phase == "Succeeded", one.status
    tries = {status.name: status.tries for status in one.status.steps}
    assert made_of == {name: count + 1 for name, count in tries.items()}
    succeeded = [job for job in jobs.values() if job.phase == "Succeeded"]
    assert len(succeeded) == 4
