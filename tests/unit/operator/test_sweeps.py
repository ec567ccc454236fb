"""What is done about a sweep, as a pure function: one table, and what holds whatever happens."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from mmrlhf_api.progress import EVALUATED_STEP
from mmrlhf_api.sweeps.ranking import on_the_way
from mmrlhf_api.sweeps.types import SweepStatus
from mmrlhf_api.tracing import ANNOTATION_TRACEPARENT, handed_on
from mmrlhf_operator.planning.run_actions import CreateJob, PatchJob
from mmrlhf_operator.planning.sweeps import SweepPlan, plan_sweep
from mmrlhf_operator.state.runs import ANNOTATION_SUSPENDED, ChildView
from mmrlhf_operator.state.sweep_views import SweepObserved, SweepView
from mmrlhf_operator.state.views import Finding
from tests.unit.sweeps.specimens import sweep

NOW = datetime(2026, 11, 29, 8, 0, tzinfo=UTC)
METRIC = "afterPreferenceAccuracy"
EARLY = {"steps": [10, 20], "keep": 0.5, "atLeast": 2}


def view(status: SweepStatus | None = None, **changes: Any) -> SweepView:
    made = sweep(**changes)
    return SweepView(
        namespace="default",
        name="tune",
        uid="sweep-1",
        generation=1,
        resource_version="7",
        deleting=False,
        problem=None,
        sweep=made,
        suspend=made.spec.suspend,
        cancel=made.spec.cancel,
        status=status or SweepStatus(),
    )


def child(point: str, phase: str | None = "Running", **fields: Any) -> ChildView:
    value, at = fields.pop("value", None), fields.pop("at", None)
    figure = on_the_way(sweep().spec)
    return ChildView(
        **{
            "name": f"tune-{point}",
            "uid": f"uid-{point}",
            "owner": "sweep-1",
            "phase": phase,
            "reason": {"Succeeded": "Completed", "Failed": "InvalidInput"}.get(phase or "", ""),
            "metrics": {METRIC: value} if phase == "Succeeded" and value is not None else {},
            "progress": {} if at is None else {EVALUATED_STEP.name: at, figure: value},
            **fields,
        }
    )


def plan(one: SweepView, *children: ChildView, **observed: Any) -> SweepPlan:
    found = {entry.name.removeprefix("tune-"): entry for entry in children}
    return plan_sweep(one, SweepObserved(children=found, **observed), now=NOW)


def go_on(one: SweepView, *children: ChildView) -> SweepView:
    return replace(one, status=plan(one, *children).status)


def phases(made: SweepPlan) -> str:
    return " ".join(point.phase.value for point in made.status.points)


def created(made: SweepPlan) -> list[str]:
    return [
        action.manifest["metadata"]["name"]
        for action in made.actions
        if isinstance(action, CreateJob)
    ]


def told(made: SweepPlan) -> list[tuple[str, Mapping[str, bool]]]:
    return [(action.name, action.policy) for action in made.actions if isinstance(action, PatchJob)]


def conditions(made: SweepPlan) -> dict[str, str]:
    return {one.type: one.status for one in made.status.conditions}


def running(**changes: Any) -> SweepView:
    """A sweep whose first two points run."""
    one = view(**changes)
    return go_on(go_on(one), child("00"), child("01"))


def test_as_many_begin_as_parallelism_lets_with_the_values_of_their_points() -> None:
    made = plan(view())
    assert phases(made) == "Starting Starting Waiting Waiting"
    assert created(made) == ["tune-00", "tune-01"]
    action = made.actions[1]
    assert isinstance(action, CreateJob)
    assert action.manifest["metadata"]["labels"] == {
        "app.kubernetes.io/managed-by": "mmrlhf-operator",
        "mmrlhf.io/sweep": "tune",
        "mmrlhf.io/point": "01",
    }
    (owner,) = action.manifest["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("Sweep", "sweep-1", True)
    assert action.manifest["spec"]["training"] == {"evaluateEverySteps": 10, "seed": 1}
    assert (made.status.summary, made.status.running) == ("0/4", "00, 01")
    assert made.status.points[2].reason == "WaitingForTurn"


def test_jobs_are_in_the_trace_that_their_sweep_was_submitted_in() -> None:
    one = view()
    assert one.sweep is not None
    told = {ANNOTATION_TRACEPARENT: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
    metadata = one.sweep.metadata.model_copy(update={"annotations": told})
    traced = replace(one, sweep=one.sweep.model_copy(update={"metadata": metadata}))
    for each, noted in ((traced, handed_on(told, "sweep-1")), (one, None)):
        action = plan(each).actions[0]
        assert isinstance(action, CreateJob)
        assert action.manifest["metadata"].get("annotations") == noted


def test_one_that_ends_makes_room_and_the_best_so_far_is_named() -> None:
    made = plan(running(), child("00", "Succeeded", value=0.7), child("01"))
    assert phases(made) == "Succeeded Running Starting Waiting"
    assert created(made) == ["tune-02"]
    assert made.status.points[0].value == 0.7
    assert made.status.best is not None
    assert (made.status.best.values, made.status.best.value) == ("objective.beta.w=0.25", 0.7)
    assert conditions(made)["Reconciling"] == "True"


def test_when_all_have_ended_the_best_setting_is_told_and_what_failed() -> None:
    one = running()
    one = go_on(one, child("00", "Succeeded", value=0.7), child("01", "Failed"))
    one = go_on(one, child("02"), child("03"))
    made = plan(one, child("02", "Succeeded", value=0.6), child("03", "Succeeded", value=0.5))
    assert phases(made) == "Succeeded Failed Succeeded Succeeded"
    assert made.status.phase == "Succeeded"
    assert made.status.message == (
        "best is objective.beta.w=0.5: afterPreferenceAccuracy is 0.55, the mean of 2 points"
        " (spread 0.071); failed: 01"
    )
    assert (made.status.summary, made.status.completion_time) == ("4/4", NOW)
    assert {kind: conditions(made)[kind] for kind in ("Ready", "Reconciling", "Stalled")} == {
        "Ready": "True",
        "Reconciling": "False",
        "Stalled": "False",
    }
    after = replace(one, status=made.status)
    assert plan(after).status == made.status
    assert plan(after).actions == ()


def test_a_sweep_in_which_nothing_was_measured_has_failed_and_says_why() -> None:
    one = running(parallelism=4)
    one = go_on(one, *(child(f"{n:02}") for n in range(4)))
    done = [child(f"{n:02}", "Succeeded", metrics={"loss": 1.0}) for n in range(4)]
    made = plan(one, *done)
    assert (made.status.phase, made.status.reason) == ("Failed", "NoPointMeasured")
    assert "point 00 (NotMeasured): tune-00 has succeeded and left no figure" in (
        made.status.message or ""
    )
    assert conditions(made)["Stalled"] == "True"


def test_what_does_badly_is_ended_once_that_is_written_and_keeps_its_place_till_then() -> None:
    one = running(earlyStop=EARLY)
    poor = child("01", at=10, value=0.4)
    made = plan(one, child("00", at=10, value=0.6), poor)
    assert phases(made) == "Running Stopped Waiting Waiting"
    assert made.status.points[1].reason == "StoppedEarly"
    assert told(made) == [("tune-01", {"cancel": True})]
    assert created(made) == []
    one = replace(one, status=made.status)
    # An operator that died before it could say so says it now, and only once.
    assert told(plan(one, child("00"), poor)) == [("tune-01", {"cancel": True})]
    assert told(plan(one, child("00"), replace(poor, cancel=True))) == []
    gone = plan(one, child("00"), child("01", "Failed", reason="Cancelled"))
    assert phases(gone) == "Running Stopped Starting Waiting"
    late = plan(one, child("00"), child("01", "Succeeded", value=0.9))
    assert phases(late) == "Running Succeeded Starting Waiting"


def test_what_was_heard_at_a_step_stays_so_whatever_is_heard_later() -> None:
    one = go_on(running(earlyStop=EARLY), child("00", at=10, value=0.6), child("01"))
    made = plan(one, child("00", at=17, value=0.1), child("01"))
    assert [(r.step, r.value) for r in made.status.points[0].reports] == [(10, 0.6)]
    assert phases(made) == "Running Running Waiting Waiting"


@pytest.mark.parametrize(
    ("spec", "job", "expected"),
    [
        ({"suspend": True}, {}, {"suspend": True}),
        ({}, {"suspend": True, "suspended_by": "sweep-1"}, {"suspend": False}),
        ({}, {"suspend": True}, None),
        ({"cancel": True}, {}, {"cancel": True}),
        ({"cancel": True}, {"owner": "somebody"}, None),
        ({"suspend": True}, {"phase": "Succeeded"}, None),
    ],
)
def test_jobs_are_stopped_and_go_on_with_their_sweep(
    spec: dict[str, Any], job: dict[str, Any], expected: dict[str, bool] | None
) -> None:
    made = plan(view(running().status, **spec), child("00", **job), child("01", "Failed"))
    patches = [action for action in made.actions if isinstance(action, PatchJob)]
    assert [dict(action.policy) for action in patches] == ([] if expected is None else [expected])
    if expected == {"suspend": True}:
        assert patches[0].annotations == {ANNOTATION_SUSPENDED: "sweep-1"}


def test_a_suspended_sweep_begins_nothing_and_a_cancelled_one_ends_with_its_jobs() -> None:
    rests = plan(view(suspend=True))
    assert (rests.status.phase, rests.actions) == ("Suspended", ())
    stopping = plan(view(running().status, cancel=True), child("00"), child("01"))
    assert (stopping.status.phase, stopping.status.reason) == ("Running", "Stopping")
    assert phases(stopping) == "Running Running Skipped Skipped"
    ended = plan(
        view(stopping.status, cancel=True),
        *(child(name, "Failed", reason="Cancelled") for name in ("00", "01")),
    )
    assert (ended.status.phase, ended.status.reason) == ("Failed", "Cancelled")


def test_somebody_elses_job_is_never_taken_and_one_that_is_gone_has_failed() -> None:
    one = go_on(view())
    made = plan(one, child("00", "Succeeded", owner="somebody", value=1.0), child("01"))
    assert phases(made) == "Starting Running Waiting Waiting"
    assert conditions(made)["Blocked"] == "True"
    assert "does not belong to this sweep" in (made.status.message or "")
    assert created(made) == []
    assert made.requeue_after
    refused = plan(one, conflicts={"00": Finding(reason="CreationRefused", message="quota")})
    assert refused.status.message == "point 00: quota"
    assert created(refused) == ["tune-00", "tune-01"]
    gone = plan(running(), child("01"))
    assert gone.status.points[0].reason == "JobDeleted"
    assert created(gone) == ["tune-02"]


def test_an_invalid_sweep_has_failed_before_it_began() -> None:
    one = replace(view(), sweep=None, problem="spec.parameters[0].values[1]: no")
    made = plan(one)
    assert (made.status.phase, made.status.reason) == ("Failed", "InvalidSpec")
    assert conditions(made)["Stalled"] == "True"
    assert plan(replace(one, status=made.status)).status == made.status
    assert plan(replace(view(cancel=True), deleting=True), child("00")).actions == ()


@pytest.mark.parametrize("seed", range(8))
def test_whatever_happens_no_point_is_made_twice_and_the_sweep_ends(seed: int) -> None:
    """Jobs end, report, hang back in the cache and vanish; operators forget between any two."""
    draw = random.Random(seed)
    one = view(earlyStop=EARLY, parallelism=draw.randint(1, 4))
    jobs: dict[str, ChildView] = {}
    made_ever: list[str] = []
    for _ in range(400):
        seen = dict(jobs)
        made = plan(one, *seen.values())
        if draw.random() < 0.2:
            continue  # it died before it wrote
        one = replace(one, status=made.status)
        for action in made.actions:
            if draw.random() < 0.3:
                break  # it died in between
            if isinstance(action, CreateJob):
                name = action.manifest["metadata"]["name"].removeprefix("tune-")
                if name not in jobs:
                    made_ever.append(name)
                    jobs[name] = child(name)
            else:
                name = action.name.removeprefix("tune-")
                jobs[name] = replace(jobs[name], cancel=True)
        active = [job for job in jobs.values() if not job.ended]
        assert one.sweep is not None
        assert len(active) <= one.sweep.spec.parallelism
        for name, job in list(jobs.items()):
            if not job.ended and draw.random() < 0.4:
                end = child(name, "Succeeded", value=draw.random())
                report = child(name, at=draw.choice([10, 20]), value=draw.random())
                ended = child(name, "Failed", reason="Cancelled", cancel=True)
                jobs[name] = ended if job.cancel else draw.choice([end, report, report])
        if one.status.phase in {"Succeeded", "Failed"} and not made.actions:
            break
    assert one.status.phase == "Succeeded"
    assert sorted(made_ever) == sorted(set(made_ever)) == ["00", "01", "02", "03"]
